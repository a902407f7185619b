package chat

import (
	"math/rand/v2"
	"strings"
)

// appendWords appends n words, which need no escapes in JSON.
func appendWords(b []byte, r *rand.Rand, n int) []byte {
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b
}

// words are common ones, of which most vocabularies have a token each. Prompts of different conversations begin apart, so
// that a prefix cache finds a word or two in common and no more.
var words = strings.Fields(`
able about above across action after again against age agree air all allow almost alone along already also always among
amount animal answer any appear apple area arm army around arrive art ask attack aunt autumn away baby back bad bag ball
bank base basket bath beach bear beat beautiful because become bed before begin behind believe bell below best better
between big bird birth bit bite black block blood blow blue board boat body bone book border born both bottle bottom bowl
box boy branch brave bread break breakfast bridge bright bring brother brown brush build burn bus business busy buy cake
call camp can cap car card care carry case castle cat catch cause center chair chance change cheap cheese child choose
circle city class clean clear climb clock close cloth cloud coat coffee cold color come common compare complete contain
control cook cool copper corn corner correct cost count country course cover crime cross crowd cry cup cut dance danger
dark daughter day dead deal dear decide deep deer depend desk destroy die different difficult dinner direction dirty
discover dish dog door double down draw dream dress drink drive drop dry duck dust duty each ear early earn earth east
easy eat education effect egg eight either electric else empty end enemy enjoy enough enter equal escape even evening
event ever every exact example except expect explain extra eye face fact fail fall family famous far farm fast father
fault fear feed feel few field fight fill film find fine finger finish fire first fish fit five flag flat float floor
flour flower fly fold follow food fool foot force foreign forest forget fork form forward four fox free freedom fresh
friend front fruit full game garden gate general get gift girl give glad glass goat gold good grain grass gray great green
ground group grow gun hair half hall hammer hand happen happy hard hat hate head healthy hear heart heavy help hen here
hide high hill history hit hold hole holiday home hope horse hospital hot hour house however huge human hundred hunt hurry
hurt husband ice idea important inside island iron jelly job join juice jump keep key kill kind king kitchen knee knife
knock know ladder lady lake lamp land large last late laugh law lead leaf learn leave left leg lend length less lesson
letter library lie life light like lion lip list listen little live local lock lonely long look lose lot love low lower
luck machine main make man many map mark market marry matter meal measure meat medicine meet member mention method middle
milk million mind minute miss mistake mix model modern moment money monkey month moon more morning most mother mountain
mouth move music name narrow nation nature near neck needle neighbor net never new news night nine noise none north nose
note nothing notice number object ocean offer office often oil old once one only open opposite orange order other outside
over own page pain paint pair paper parent park part partner party pass past path pay peace pen pencil people pepper
perfect period person picture piece pig pin pink place plane plant plastic plate play please plenty pocket point poison
police polite pool poor popular position possible potato pour power present press pretty prevent price prince prison
private prize problem produce promise proper protect provide public pull punish pupil push put queen question quick quiet
quite radio rain raise reach read ready real reason receive record red remember remind remove rent repair repeat reply
report rest restaurant result return rice rich ride right ring rise road rob rock room round rubber rule ruler run rush
sad safe sail salt same sand save say school science scissors search seat second see seem sell send sentence serve seven
several shade shadow shake shape share sharp sheep sheet shelf shine ship shirt shoe shoot shop short should shoulder
shout show sick side signal silence silly silver similar simple since sing single sink sister sit six size skill skin
skirt sky sleep slip slow small smell smile smoke snow soap sock soft some son soon sorry sound soup south space speak
special speed spell spend spoon sport spread spring square stamp stand star start station stay steal steam step still
stomach stone stop store storm story strange street strong structure student study subject substance successful sudden
sugar suitable summer sun sunny support sure surprise sweet swim sword table take talk tall taste taxi tea teach team tear
telephone television tell ten tennis terrible test than that the then there thick thin thing think third this threat three
tidy tie time title today toe together tomorrow tonight tool tooth top total touch town train tram travel tree trouble
true trust twice try turn type uncle under understand unit until up use useful usual valley very village visit voice wait
wake walk wall want war warm wash waste watch water way weak wear weather wedding week weight welcome well west wet wheel
where which white who why wide wife wild will win wind window wine winter wire wise wish with without woman wonder word
work world worry worst write wrong year yellow yes yesterday yet you young zero zoo
`)

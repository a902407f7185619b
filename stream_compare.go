package serval

import "time"

// StreamComparison is how two streams that read the same messages answer them: one, the champion, is in use, and the other one,
// the challenger, is meant to be as good or better. It is also what the control API answers.
type StreamComparison struct {
	Champion   StreamSide `json:"champion"`
	Challenger StreamSide `json:"challenger"`
	Output     string     `json:"output" doc:"the output that is compared; empty: the answers' text"`
	Since      time.Time  `json:"since" doc:"when the comparing began; nothing before it counts"`

	Pairs      uint64 `json:"pairs" doc:"messages that both have answered"`
	Incomplete uint64 `json:"not_comparable" doc:"of those: answers that cannot be set against each other, as of different types or sizes"`

	Labels   *LabelAgreement   `json:"labels,omitempty" doc:"where answers are labels, or numbers become ones by a threshold or the largest of them"`
	Numbers  *NumberAgreement  `json:"numbers,omitempty" doc:"where answers are numbers"`
	Outcomes *OutcomeAgreement `json:"outcomes,omitempty" doc:"what turned out to be right, where that is told"`
	Examples []StreamPair      `json:"examples" doc:"the newest messages on which they differ"`
}

// StreamSide is one of two streams that are compared. Ages are seconds from a message's making to its answer.
type StreamSide struct {
	Stream  string  `json:"stream"`
	Model   string  `json:"model" doc:"who answered last, with its version"`
	Seen    uint64  `json:"answers" doc:"since the comparing began"`
	Waiting int     `json:"waiting" doc:"answers whose counterpart has not come yet"`
	Alone   uint64  `json:"alone" doc:"answers that were given up, as their counterpart did not come within the window"`
	Lag     int64   `json:"lag" doc:"messages that wait at the broker; -1: not known"`
	Dead    uint64  `json:"dead_letters" doc:"since the server started"`
	AgeP50  float64 `json:"age_p50" doc:"seconds from a message's making to its answer: half are younger; 0: not known"`
	AgeP99  float64 `json:"age_p99"`
}

// LabelAgreement counts labels.
type LabelAgreement struct {
	Pairs     uint64                       `json:"pairs"`
	Equal     uint64                       `json:"equal"`
	Share     float64                      `json:"share" doc:"equal of pairs, 0 to 1"`
	Confusion map[string]map[string]uint64 `json:"confusion" doc:"by the champion's label, then the challenger's; rare ones are together under …"`
}

// NumberAgreement sets numbers against each other: of answers with several, each number against its counterpart.
type NumberAgreement struct {
	Numbers        uint64  `json:"numbers" doc:"pairs of finite numbers"`
	NotFinite      uint64  `json:"not_finite" doc:"pairs of which one is no finite number and the other one differs"`
	Champion       float64 `json:"champion_mean"`
	Challenger     float64 `json:"challenger_mean"`
	Correlation    float64 `json:"correlation" doc:"Pearson's; 0 where one of them does not vary"`
	MeanDifference float64 `json:"mean_difference" doc:"of the absolute difference"`
	P99Difference  float64 `json:"p99_difference"`
	MaxDifference  float64 `json:"max_difference"`
	MaxAt          string  `json:"max_at,omitempty" doc:"the message with the largest one"`
}

// OutcomeAgreement is how right both were, over the newest messages whose outcome is known.
type OutcomeAgreement struct {
	Told       uint64  `json:"told" doc:"outcomes that came, since the comparing began"`
	Known      int     `json:"known" doc:"messages that count below: the newest whose outcome is known"`
	Waiting    int     `json:"waiting" doc:"messages that both have answered and whose outcome has not come"`
	NoKey      uint64  `json:"no_key" doc:"messages without the key by which outcomes are found"`
	Broken     uint64  `json:"broken" doc:"outcomes that could not be read"`
	Reason     string  `json:"reason,omitempty" doc:"why no outcomes come"`
	Champion   Quality `json:"champion"`
	Challenger Quality `json:"challenger"`
}

// Quality is how right answers were; what does not apply is not there.
type Quality struct {
	Accuracy *float64 `json:"accuracy,omitempty" doc:"of labels: the share that is right"`
	AUC      *float64 `json:"auc,omitempty" doc:"of numbers, where outcomes are 0 and 1: how often one with 1 is ahead of one with 0"`
	MAE      *float64 `json:"mae,omitempty" doc:"of numbers: the mean of the absolute error"`
}

// StreamPair is a message and its two answers.
type StreamPair struct {
	Message    string `json:"message" doc:"where it stands: topic/partition@offset"`
	Champion   string `json:"champion"`
	Challenger string `json:"challenger"`
}

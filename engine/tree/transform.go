package tree

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// link is how margins become what is answered.
type link uint8

const (
	identity      link = iota
	sigmoid            // of each margin
	softmax            // over the margins
	argmax             // the number of the largest margin
	exponent           // e to each margin
	hinge              // 1 where the margin is above 0, else 0
	signedSquare       // LightGBM's reg_sqrt
	logOnePlusExp      // LightGBM's cross_entropy_lambda
	classLabel         // CatBoost's: the label of the best class; of two, by the sign of the one margin
	variance           // CatBoost's RMSEWithUncertainty: the second margin is a logarithm of a standard deviation
)

// xgbObjective is what a model's objective means when it is served.
type xgbObjective struct {
	predict, proba link
	classes        bool                  // num_class must be given
	margin         func(float32) float32 // of base_score
}

func same(v float32) float32 { return v }

func logOf(v float32) float32 { return float32(math.Log(float64(v))) }

// logit is XGBoost's, with its bounds.
func logit(v float32) float32 {
	const eps = 1e-6
	v = min(max(v, eps), 1-float32(eps))
	return -logOf(1/v - 1)
}

// xgbObjectives are the objectives of XGBoost 1.0 to 3.4.
var xgbObjectives = map[string]xgbObjective{
	"reg:squarederror":     {predict: identity, margin: same},
	"reg:linear":           {predict: identity, margin: same},
	"reg:squaredlogerror":  {predict: identity, margin: same},
	"reg:pseudohubererror": {predict: identity, margin: same},
	"reg:absoluteerror":    {predict: identity, margin: same},
	"reg:quantileerror":    {predict: identity, margin: same},
	"reg:expectileerror":   {predict: identity, margin: same},
	"reg:logistic":         {predict: sigmoid, proba: sigmoid, margin: logit},
	"binary:logistic":      {predict: sigmoid, proba: sigmoid, margin: logit},
	"binary:logitraw":      {predict: identity, margin: same},
	"binary:hinge":         {predict: hinge, margin: same},
	"count:poisson":        {predict: exponent, margin: logOf},
	"reg:gamma":            {predict: exponent, margin: logOf},
	"reg:tweedie":          {predict: exponent, margin: logOf},
	"survival:cox":         {predict: exponent, margin: logOf},
	"survival:aft":         {predict: exponent, margin: logOf},
	"multi:softmax":        {predict: argmax, proba: softmax, classes: true, margin: same},
	"multi:softprob":       {predict: softmax, proba: softmax, classes: true, margin: same},
	"rank:pairwise":        {predict: identity, margin: same},
	"rank:ndcg":            {predict: identity, margin: same},
	"rank:map":             {predict: identity, margin: same},
}

// known lists the keys of a table, for messages.
func known[V any](table map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(table)), ", ")
}

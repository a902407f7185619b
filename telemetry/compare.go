package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"serval"
)

// Comparisons are how streams stand against each other when the metrics are read; safe for concurrent use.
type Comparisons interface {
	Comparisons() []serval.StreamComparison
}

// WatchComparisons adds the metrics of streams that are compared. It is called once, before the first scrape.
func (t *Telemetry) WatchComparisons(c Comparisons) { t.registry.MustRegister(newCompareCollector(c)) }

// compareCollector reads the comparisons when the metrics are read; it keeps no numbers of its own.
type compareCollector struct {
	of  Comparisons
	all []*prometheus.Desc

	pairs, equal, different, difference, alone, waiting, age, accuracy, auc, mae *prometheus.Desc
}

func newCompareCollector(of Comparisons) *compareCollector {
	c := &compareCollector{of: of}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc(name, help, append([]string{labelChampion, labelRival}, labels...), nil)
		c.all = append(c.all, d)
		return d
	}
	c.pairs = desc(nameComparePairs, "Messages that champion and challenger both have answered.")
	c.equal = desc(nameCompareEqual, "Of those: both gave the same label.")
	c.different = desc(nameCompareDifferent, "Of those: they gave different labels.")
	c.difference = desc(nameCompareDifference, "Mean absolute difference of their numbers.")
	c.alone = desc(nameCompareAlone, "Answers of a stream whose counterpart did not come within the window.", labelStream)
	c.waiting = desc(nameCompareWaiting, "Answers of a stream whose counterpart has not come yet.", labelStream)
	c.age = desc(nameCompareAge, "From a message's making to its answer: 99 of 100 are younger.", labelStream)
	c.accuracy = desc(nameCompareAccuracy, "Share of a stream's labels that turned out to be right, over the newest messages.", labelStream)
	c.auc = desc(nameCompareAUC, "Area under the curve of a stream's numbers against outcomes of 0 and 1, over the newest messages.", labelStream)
	c.mae = desc(nameCompareMAE, "Mean absolute error of a stream's numbers against outcomes, over the newest messages.", labelStream)
	return c
}

// Describe implements prometheus.Collector.
func (c *compareCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.all {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *compareCollector) Collect(to chan<- prometheus.Metric) {
	for _, r := range c.of.Comparisons() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, more ...string) {
			to <- prometheus.MustNewConstMetric(d, kind, v, append([]string{r.Champion.Stream, r.Challenger.Stream}, more...)...)
		}
		send(c.pairs, prometheus.CounterValue, float64(r.Pairs))
		if r.Labels != nil {
			send(c.equal, prometheus.CounterValue, float64(r.Labels.Equal))
			send(c.different, prometheus.CounterValue, float64(r.Labels.Pairs-r.Labels.Equal))
		}
		if r.Numbers != nil {
			send(c.difference, prometheus.GaugeValue, r.Numbers.MeanDifference)
		}
		for i, side := range []*serval.StreamSide{&r.Champion, &r.Challenger} {
			send(c.alone, prometheus.CounterValue, float64(side.Alone), side.Stream)
			send(c.waiting, prometheus.GaugeValue, float64(side.Waiting), side.Stream)
			send(c.age, prometheus.GaugeValue, side.AgeP99, side.Stream)
			if r.Outcomes == nil {
				continue
			}
			q := []*serval.Quality{&r.Outcomes.Champion, &r.Outcomes.Challenger}[i]
			for d, v := range map[*prometheus.Desc]*float64{c.accuracy: q.Accuracy, c.auc: q.AUC, c.mae: q.MAE} {
				if v != nil {
					send(d, prometheus.GaugeValue, *v, side.Stream)
				}
			}
		}
	}
}

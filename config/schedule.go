package config

import (
	"strings"
	"time"
)

// Schedule makes jobs by itself: at times, or of objects that appear.
type Schedule struct {
	Cron     string        `yaml:"cron" doc:"when a job is made: minute, hour, day of month, month, day of week, as in \"30 2 * * *\"; or @hourly, @daily, @weekly, @monthly"`
	TimeZone string        `yaml:"time_zone" doc:"whose clock it is, as in Europe/Berlin; default: UTC"`
	Watch    string        `yaml:"watch" doc:"instead of cron: a folder, pattern or s3://bucket/prefix/, gs:// or azblob:// of which each object that appears is the input of a job"`
	Every    time.Duration `yaml:"every" doc:"how often watch is looked at; default: 10s"`
	Settle   time.Duration `yaml:"settle" doc:"how long a file must have been the same before it is taken; default: 10s"`
	Existing bool          `yaml:"existing" doc:"take the objects, too, that are there when the schedule is new"`
	Tenant   string        `yaml:"tenant" doc:"as whom the model is asked; default: the schedule's name"`
	Priority int           `yaml:"priority" doc:"of the jobs: 1 is the most urgent, 9 the least; default: 5" min:"0" max:"9"`
	Job      ScheduledJob  `yaml:"job" doc:"what is to be done; input and output may have {date} and {time}, with watch also {name} and {stem}"`
}

// ScheduledJob is what a schedule has done.
type ScheduledJob struct {
	Model         string              `yaml:"model" doc:"which model is asked"`
	Input         []string            `yaml:"input" doc:"files, folders, patterns or places to read; none with watch"`
	Output        string              `yaml:"output" doc:"file or place to write; empty: the server keeps the result"`
	InputFormat   string              `yaml:"input_format" doc:"default: by the names"`
	OutputFormat  string              `yaml:"output_format" doc:"default: by the output's name, or the input's"`
	InputOptions  map[string]string   `yaml:"input_options" doc:"of the format, as in {delimiter: ;}"`
	OutputOptions map[string]string   `yaml:"output_options" doc:"of the format"`
	Map           map[string][]string `yaml:"map" doc:"columns of the model's inputs"`
	Passthrough   []string            `yaml:"passthrough" doc:"columns to keep beside the answer: [all], [none], or names; default: those that no input takes"`
	Want          []string            `yaml:"want" doc:"outputs to write, as the model gives them; default: as its recipe says"`
	MaxErrors     string              `yaml:"max_errors" doc:"fail when more rows than that are bad: \"100\", or 1%; default: never"`
	Prompt        string              `yaml:"prompt" doc:"what to ask a model of text about a row, as in \"Classify: {text}\""`
	System        string              `yaml:"system" doc:"its system message"`
	Task          string              `yaml:"task" doc:"chat, completion or embed; default: by what the model can do"`
	MaxTokens     int                 `yaml:"max_tokens" doc:"most tokens of an answer; default: the model's" min:"0"`
	Split         bool                `yaml:"split" doc:"several workers share the job, by input files; the output is a folder"`
	Parts         int                 `yaml:"parts" doc:"several workers share the job, in about so many parts, also within one file" min:"0"`
	Restart       bool                `yaml:"restart" doc:"replace an output that is there"`
}

// schedule checks what no single value can show; the rest is checked when the server starts.
func (k *check) schedule(s *Schedule, path string) {
	switch {
	case (s.Cron == "") == (s.Watch == ""):
		k.fail(path, "needs either cron, when jobs are made, or watch, of whose objects")
	case s.Watch != "" && len(s.Job.Input) > 0:
		k.fail(path+".job.input", "is what appears at watch; leave it out")
	case s.Cron != "" && len(s.Job.Input) == 0:
		k.fail(path+".job.input", "is missing; name what is read")
	case s.Watch == "" && (s.Every != 0 || s.Settle != 0 || s.Existing):
		k.fail(path+".watch", "is missing, to which every, settle and existing belong")
	case s.Every != 0 && s.Every < time.Second:
		k.fail(path+".every", "must be 1s or longer, is %s", s.Every)
	}
	if s.Job.Model == "" {
		k.fail(path+".job.model", "is missing")
	}
	if s.Job.Output != "" && !s.Job.Restart && !strings.Contains(s.Job.Output, "{") {
		k.fail(path+".job.output", "would be found by the second job; put {date}, {time} or, with watch, {stem} into it, or say restart")
	}
}

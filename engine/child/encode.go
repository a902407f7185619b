package child

import (
	"errors"
	"time"

	"serval"
	"serval/wire/worker"
)

// From Serval's words to the wire's. Nothing is copied that the wire copies anyway: messages point into what they were made
// of, and are written before that changes.

func encodeRequest(req *serval.Request, now time.Time) (*worker.Request, error) {
	m := &worker.Request{Id: req.ID, Tenant: req.Tenant, Protocol: req.Protocol, Priority: int32(req.Priority), Timeout: int64(req.Timeout), Trace: req.Trace}
	if !req.Deadline.IsZero() {
		m.Left = max(1, int64(req.Deadline.Sub(now)))
	}
	if q := req.Sequence; q != (serval.Sequence{}) {
		m.Sequence = &worker.Sequence{Id: q.ID, Start: q.Start, End: q.End}
	}
	switch in := req.Input.(type) {
	case *serval.Tensors:
		m.Input = &worker.Request_Tensors{Tensors: encodeTensors(in)}
	case *serval.Generate:
		m.Input = &worker.Request_Generate{Generate: encodeGenerate(in)}
	case *serval.Encode:
		e := &worker.Encode{Pooling: in.Pooling, List: make([]*worker.TokenList, len(in.List))}
		for i, tokens := range in.List {
			e.List[i] = &worker.TokenList{Tokens: tokens}
		}
		for _, types := range in.Types {
			e.Types = append(e.Types, &worker.TokenList{Tokens: types})
		}
		m.Input = &worker.Request_Encode{Encode: e}
	default:
		return nil, serval.Errorf(serval.InvalidArgument, "the model does not take this kind of input")
	}
	return m, nil
}

func encodeTensors(t *serval.Tensors) *worker.Tensors {
	m := &worker.Tensors{Want: t.Want, List: make([]*worker.Tensor, len(t.List))}
	all := make([]worker.Tensor, len(t.List))
	for i := range t.List {
		in, out := &t.List[i], &all[i]
		out.Name, out.Dtype, out.Shape, out.Data, out.Labels = in.Name, uint32(in.DType), in.Shape, in.Data, in.Labels
		m.List[i] = out
	}
	return m
}

func encodeGenerate(g *serval.Generate) *worker.Generate {
	m := &worker.Generate{
		Tokens: g.Tokens, Limit: int64(g.Limit), Logprobs: int64(g.Logprobs), PromptLogprobs: int64(g.PromptLogprobs),
		Adapter: g.Adapter, Salt: g.Salt, Speculate: g.Speculate, Alone: g.Alone,
	}
	s := &g.Sampling
	m.Sampling = &worker.Sampling{
		Temperature: s.Temperature, TopP: s.TopP, MinP: s.MinP, TopK: int64(s.TopK), RepetitionPenalty: s.RepetitionPenalty,
		PresencePenalty: s.PresencePenalty, FrequencyPenalty: s.FrequencyPenalty, PenaltyWindow: int64(s.PenaltyWindow), Seed: s.Seed,
		StopTokens: s.StopTokens, IgnoreEnd: s.IgnoreEnd,
	}
	for _, b := range s.Bias {
		m.Sampling.BiasTokens = append(m.Sampling.BiasTokens, b.Token)
		m.Sampling.Biases = append(m.Sampling.Biases, b.Bias)
	}
	if c := g.Constraint; c != nil {
		m.Constraint = &worker.Constraint{Kind: c.Kind, Source: c.Source, Param: c.Param}
	}
	return m
}

func encodeChunk(c *serval.Chunk) (*worker.Chunk, error) {
	m := &worker.Chunk{Finish: string(c.Finish), Choice: int32(c.Choice)}
	if u := c.Usage; u != (serval.Usage{}) {
		m.Usage = &worker.Usage{Rows: u.Rows, Prompt: u.Prompt, Cached: u.Cached, Completion: u.Completion, Reasoning: u.Reasoning, Drafted: u.Drafted, Accepted: u.Accepted}
	}
	switch out := c.Output.(type) {
	case nil:
	case *serval.Tensors:
		m.Output = &worker.Chunk_Tensors{Tensors: encodeTensors(out)}
	case *serval.Tokens:
		m.Output = &worker.Chunk_Tokens{Tokens: &worker.Tokens{List: encodeTokens(out.List), Prompt: encodeTokens(out.Prompt)}}
	case *serval.Embeddings:
		e := &worker.Embeddings{List: make([]*worker.Vector, len(out.List))}
		for i, v := range out.List {
			e.List[i] = &worker.Vector{Values: v}
		}
		m.Output = &worker.Chunk_Embeddings{Embeddings: e}
	default:
		return nil, errors.New("the engine answered with a kind of output that does not pass between processes")
	}
	return m, nil
}

func encodeTokens(list []serval.Token) []*worker.Token {
	if len(list) == 0 {
		return nil
	}
	all, out := make([]worker.Token, len(list)), make([]*worker.Token, len(list))
	for i := range list {
		all[i].Id, all[i].Logprob, all[i].Top = list[i].ID, list[i].Logprob, encodeTokens(list[i].Top)
		out[i] = &all[i]
	}
	return out
}

// encodeFailure writes an error; nil for none. What is not for callers stays so.
func encodeFailure(err error) *worker.Failure {
	if err == nil {
		return nil
	}
	if errors.Is(err, serval.ErrRetired) {
		return &worker.Failure{Retired: true}
	}
	var e *serval.Error
	if !errors.As(err, &e) {
		return &worker.Failure{Message: short(err.Error())}
	}
	m := &worker.Failure{Known: true, Code: uint32(e.Code), Message: short(e.Message), Param: e.Param, Reason: e.Reason, RetryAfter: int64(e.RetryAfter)}
	if cause := e.Unwrap(); cause != nil {
		m.Cause = short(cause.Error())
	}
	return m
}

func encodeTiming(t *serval.Timing) *worker.Timing {
	return &worker.Timing{Queue: int64(t.Queue), Input: int64(t.Input), Compute: int64(t.Compute), Output: int64(t.Output), Batch: int64(t.Batch)}
}

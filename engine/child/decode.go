package child

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"serval"
	"serval/wire/worker"
)

// From the wire's words to Serval's. What is made points into the message, which nobody else keeps.

func decodeRequest(m *worker.Request, now time.Time) (*serval.Request, error) {
	req := &serval.Request{ID: m.Id, Tenant: m.Tenant, Protocol: m.Protocol, Priority: int8(m.Priority), Timeout: time.Duration(m.Timeout), Trace: m.Trace}
	req.Timing.Start = now
	if m.Left > 0 {
		req.Deadline = now.Add(time.Duration(m.Left))
	}
	if q := m.Sequence; q != nil {
		req.Sequence = serval.Sequence{ID: q.Id, Start: q.Start, End: q.End}
	}
	switch in := m.Input.(type) {
	case *worker.Request_Tensors:
		t, err := decodeTensors(in.Tensors)
		if err != nil {
			return nil, err
		}
		req.Input = t
	case *worker.Request_Generate:
		req.Input = decodeGenerate(in.Generate)
	case *worker.Request_Encode:
		e := &serval.Encode{Pooling: in.Encode.GetPooling(), List: make([][]int32, len(in.Encode.GetList()))}
		for i, l := range in.Encode.GetList() {
			e.List[i] = l.GetTokens()
		}
		for _, l := range in.Encode.GetTypes() {
			e.Types = append(e.Types, l.GetTokens())
		}
		req.Input = e
	default:
		return nil, errors.New("a request without an input")
	}
	return req, nil
}

// decodeTensors reads tensors, whose data fits their shapes then: a process that is about to crash may write anything. An
// optional input that was not given has no type.
func decodeTensors(m *worker.Tensors) (*serval.Tensors, error) {
	t := &serval.Tensors{Want: m.GetWant(), List: make([]serval.Tensor, len(m.GetList()))}
	for i, in := range m.GetList() {
		out := &t.List[i]
		out.Name, out.DType, out.Shape, out.Data, out.Labels = in.GetName(), serval.DType(in.GetDtype()), in.GetShape(), in.GetData(), in.GetLabels()
		if in.GetDtype() == uint32(serval.InvalidType) {
			continue
		}
		if in.GetDtype() > 255 || out.DType.String() == serval.InvalidType.String() {
			return nil, fmt.Errorf("tensor '%s' has the unknown type %d", out.Name, in.GetDtype())
		}
		if out.Shape == nil {
			out.Shape = []int64{} // a scalar
		}
		if err := out.Check(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func decodeGenerate(m *worker.Generate) *serval.Generate {
	g := &serval.Generate{
		Tokens: m.GetTokens(), Limit: int(m.GetLimit()), Logprobs: int(m.GetLogprobs()), PromptLogprobs: int(m.GetPromptLogprobs()),
		Adapter: m.GetAdapter(), Salt: m.GetSalt(), Speculate: m.GetSpeculate(), Alone: m.GetAlone(),
	}
	s := m.GetSampling()
	g.Sampling = serval.Sampling{
		Temperature: s.GetTemperature(), TopP: s.GetTopP(), MinP: s.GetMinP(), TopK: int(s.GetTopK()), RepetitionPenalty: s.GetRepetitionPenalty(),
		PresencePenalty: s.GetPresencePenalty(), FrequencyPenalty: s.GetFrequencyPenalty(), PenaltyWindow: int(s.GetPenaltyWindow()), Seed: s.GetSeed(),
		StopTokens: s.GetStopTokens(), IgnoreEnd: s.GetIgnoreEnd(),
	}
	values := s.GetBiases()
	for i, token := range s.GetBiasTokens()[:min(len(s.GetBiasTokens()), len(values))] {
		g.Sampling.Bias = append(g.Sampling.Bias, serval.TokenBias{Token: token, Bias: values[i]})
	}
	if c := m.GetConstraint(); c != nil {
		g.Constraint = &serval.Constraint{Kind: c.Kind, Source: c.Source, Param: c.Param}
	}
	return g
}

func decodeChunk(m *worker.Chunk) (*serval.Chunk, error) {
	c := &serval.Chunk{Finish: serval.Finish(m.GetFinish()), Choice: int(m.GetChoice())}
	if u := m.GetUsage(); u != nil {
		c.Usage = serval.Usage{Rows: u.Rows, Prompt: u.Prompt, Cached: u.Cached, Completion: u.Completion, Reasoning: u.Reasoning, Drafted: u.Drafted, Accepted: u.Accepted}
	}
	switch out := m.GetOutput().(type) {
	case *worker.Chunk_Tensors:
		t, err := decodeTensors(out.Tensors)
		if err != nil {
			return nil, fmt.Errorf("the model's process answered nonsense: %w", err)
		}
		c.Output = t
	case *worker.Chunk_Tokens:
		c.Output = &serval.Tokens{List: decodeTokens(out.Tokens.GetList(), 0), Prompt: decodeTokens(out.Tokens.GetPrompt(), 0)}
	case *worker.Chunk_Embeddings:
		e := &serval.Embeddings{List: make([][]float32, len(out.Embeddings.GetList()))}
		for i, v := range out.Embeddings.GetList() {
			e.List[i] = v.GetValues()
		}
		c.Output = e
	}
	return c, nil
}

// decodeTokens reads tokens, and the likeliest ones beside each. Those have none beside them.
func decodeTokens(list []*worker.Token, depth int) []serval.Token {
	if len(list) == 0 || depth > 1 {
		return nil
	}
	out := make([]serval.Token, len(list))
	for i, t := range list {
		out[i] = serval.Token{ID: t.GetId(), Logprob: t.GetLogprob(), Top: decodeTokens(t.GetTop(), depth+1)}
	}
	return out
}

// decodeFailure is the error that the host met; nil for none.
func decodeFailure(m *worker.Failure) error {
	switch {
	case m == nil:
		return nil
	case m.Retired:
		return serval.ErrRetired
	case !m.Known:
		return errors.New(m.Message)
	}
	code := serval.Internal
	if m.Code <= 255 {
		code = serval.Code(m.Code)
	}
	e := &serval.Error{Code: code, Message: m.Message, Param: m.Param, Reason: m.Reason, RetryAfter: time.Duration(m.RetryAfter)}
	switch {
	case code == serval.DeadlineExceeded:
		return e.Because(context.DeadlineExceeded)
	case m.Cause != "":
		return e.Because(errors.New(m.Cause))
	}
	return e
}

func decodeTiming(m *worker.Timing, t *serval.Timing) {
	if m != nil {
		t.Queue, t.Input, t.Compute, t.Output = time.Duration(m.Queue), time.Duration(m.Input), time.Duration(m.Compute), time.Duration(m.Output)
		t.Batch = int(m.Batch)
	}
}

// short bounds a message.
func short(s string) string {
	const most = 16 << 10
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + " …"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

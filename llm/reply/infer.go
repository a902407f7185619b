package reply

import (
	"encoding/json"
	"regexp"
	"strings"
)

// ends are tokens that end a turn with calls, where it ends otherwise than one with text.
var ends = regexp.MustCompile(`<\|(eom_id|eot_id|im_end|end|call|calls|end_of_text|return|eot|END_OF_TURN_TOKEN|end_of_msg)\|>|</s>|<eos>|<end_of_turn>|<｜end▁of▁sentence｜>|` + endToken)

// oneTag is a tag, or a word in brackets.
var oneTag = regexp.MustCompile(`<[^<>]+>|\[/?[A-Z_]+\]`)

// infer finds the form of calls.
func (p prober) infer() *format {
	first, second := probeCall(firstID, firstTool, firstText), probeCall(secondID, secondTool, thirdText)
	one, ok := p.answer(message("assistant", "", "tool_calls", []any{first}))
	if !ok {
		return nil
	}
	two, ok := p.answer(message("assistant", "", "tool_calls", []any{first, second}))
	if !ok || !strings.Contains(two, secondTool) {
		two = ""
	}
	end := oneTag.FindString(p.turnEnd())
	// The reasoning that a template writes before a call belongs to no call.
	for _, t := range thinkTags {
		close := strings.TrimSpace(t.close)
		if at := strings.LastIndex(one, close); at >= 0 && at < strings.Index(one, firstTool) {
			one = one[at+len(close):]
		}
		if at := strings.LastIndex(two, close); at >= 0 && at < strings.Index(two, firstTool) {
			two = two[at+len(close):]
		}
	}
	f := inferJSON(one, two)
	if f == nil {
		f = inferTagged(one, two)
	}
	if f == nil {
		return nil
	}
	for i, part := range f.tail { // what ends the turn is no part of the call
		if end != "" {
			part, _, _ = strings.Cut(part, end)
		}
		if at := ends.FindStringIndex(part); at != nil {
			part = part[:at[0]]
		}
		f.tail[i] = part
	}
	if len(f.tail.String()) > 120 || len(f.lead.String()) > 120 {
		return nil // more than marks: the template says something to the model there
	}
	if f.kind == objects {
		f.close = oneTag.FindString(f.tail[len(f.tail)-1])
	} else if m := f.marker(); oneTag.FindString(m) != m && !strings.HasPrefix(m, "<") || strings.Contains(f.mid.String()+f.sep.String(), firstTool) {
		return nil // it cannot be told from text, or says the name twice
	}
	return f
}

// cutCall splits at a call's name and arguments.
func cutCall(s, name, text string) (lead, mid, rest string, ok bool) {
	at := strings.Index(s, name)
	if at < 0 {
		return
	}
	lead, s = s[:at], s[at+len(name):]
	from := regexp.MustCompile(`\{\s*"` + firstKey + `"`).FindStringIndex(s)
	if from == nil {
		return
	}
	mid = s[:from[0]]
	d := json.NewDecoder(strings.NewReader(s[from[0]:]))
	var args map[string]any
	if d.Decode(&args) != nil || args[firstKey] != text {
		return
	}
	return lead, mid, s[from[0]+int(d.InputOffset()):], true
}

var objectLead = regexp.MustCompile(`^(?s:(.*))\{[^{}]*?"(\w+)":\s*"$`)
var objectMid = regexp.MustCompile(`^"(?s:.*)"(\w+)":\s*$`)

// inferJSON finds forms whose arguments are JSON.
func inferJSON(one, two string) *format {
	lead, mid, tail, ok := cutCall(one, firstTool, firstText)
	if !ok {
		return nil
	}
	f := &format{kind: named, single: true}
	if lead2, mid2, rest, ok := cutCall(two, firstTool, firstText); ok && lead2 == lead {
		if sep, mid3, tail2, ok := cutCall(rest, secondTool, thirdText); ok {
			f.single = false
			f.sep = holes(counted(sep))
			mid, tail = differing(mid2, mid3), unnumbered(tail2, secondID)
			if unnumbered(mid3, secondID) == mid2 {
				mid = mid2
			}
		}
	}
	f.lead, f.mid, f.tail = holes(counted(lead)), holes(mid), holes(tail)
	if l, m := objectLead.FindStringSubmatch(lead), objectMid.FindStringSubmatch(mid); l != nil && m != nil {
		f.kind, f.nameKey, f.argsKey = objects, l[2], m[1]
		f.open = strings.TrimSpace(l[1])
		if cut, isList := strings.CutSuffix(f.open, "["); isList {
			f.open, f.list = strings.TrimSpace(cut), true
		}
		return f
	}
	if f.marker() == "" || strings.TrimSpace(mid) == "" {
		return nil
	}
	return f
}

// differing makes a hole of digits that count the calls.
func differing(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i+1 < len(a) && i+1 < len(b) && a[i] == '0' && b[i] == '1' && a[i+1:] == b[i+1:] {
		return a[:i] + firstID + a[i+1:]
	}
	return a
}

var numberID = regexp.MustCompile(`("\w*id":\s*")\d+"`)

// counted makes a hole of an id that is a number.
func counted(s string) string { return numberID.ReplaceAllString(s, "${1}"+firstID+`"`) }

func unnumbered(s, id string) string { return strings.ReplaceAll(s, id, firstID) }

// holes parts text at the ids in it.
func holes(s string) pattern {
	return strings.Split(strings.ReplaceAll(s, secondID, firstID), firstID)
}

// inferTagged finds forms with each argument in tags.
func inferTagged(one, two string) *format {
	rest := one
	var parts []string
	for _, word := range []string{firstTool, firstKey, firstText, secondKey, secondText} {
		before, after, ok := strings.Cut(rest, word)
		if !ok {
			return nil
		}
		parts = append(parts, before)
		rest = after
	}
	lead, mid, value, between, tail := parts[0], parts[1], parts[2], parts[3], rest
	if value != parts[4] || strings.TrimSpace(lead) == "" || strings.TrimSpace(value) == "" || strings.ContainsAny(value, "{}'") {
		return nil
	}
	// between ends a value and begins a key; mid ends the name and begins a key; tail ends a value and the call.
	n := 0
	for n < len(mid) && n < len(between) && mid[len(mid)-1-n] == between[len(between)-1-n] {
		n++
	}
	key := mid[len(mid)-n:]
	if at := strings.IndexByte(key, '<'); at > 0 { // both end a tag alike
		n -= at
		key = key[at:]
	}
	end := between[:len(between)-n]
	if strings.HasPrefix(tail, end) { // else the white space after a value stands between values only
		tail = strings.TrimRight(end, " \n") + tail[len(end):]
	}
	if strings.TrimSpace(key) == "" || strings.TrimSpace(end) == "" || !strings.HasPrefix(tail, strings.TrimRight(end, " \n")) {
		return nil
	}
	f := &format{kind: tagged, lead: holes(lead), mid: holes(mid[:len(mid)-n]), tail: holes(strings.TrimPrefix(tail, strings.TrimRight(end, " \n"))),
		key: key, value: value, end: end, single: true}
	if v, ok := strings.CutSuffix(value, `" string="true">`); ok && v == "" {
		f.typed, f.value = true, `" string="`
	}
	if strings.TrimSpace(f.tail.String()) == "" {
		return nil
	}
	if _, after, ok := strings.Cut(two, secondText); ok {
		sep, rest, ok := strings.Cut(after, secondTool)
		if ok && !strings.HasPrefix(rest, mid) {
			return nil // the calls are told apart in a way that is not known
		}
		if strings.HasPrefix(sep, end) {
			sep = strings.TrimRight(end, " \n") + sep[len(end):]
		}
		if ok && strings.HasPrefix(sep, strings.TrimRight(end, " \n")) {
			f.sep, f.single = holes(strings.TrimPrefix(sep, strings.TrimRight(end, " \n"))), false
		}
	}
	return f
}

package csv

import (
	"context"
	"os"
	"strconv"
	"strings"

	"serval"
	"serval/batch"
)

// Format is CSV, or, with Tab, what is the same with tabs. It is safe for concurrent use.
type Format struct{ Tab bool }

// Options of a file, by the names that users give them.
type Options struct {
	// Delimiter between fields: one byte; 0: ',' or, where the first line has none, ';' or a tab.
	Delimiter byte
	// Header is "yes", "no" (columns are then called 1, 2, …), or "auto": no only where the first line is all numbers.
	Header string
	// MaxRecord is the most bytes of one row.
	MaxRecord int
	// CRLF ends written lines with it.
	CRLF bool
}

// Name is csv, or tsv.
func (f Format) Name() string {
	if f.Tab {
		return "tsv"
	}
	return "csv"
}

// Extensions are those of such files.
func (f Format) Extensions() []string {
	if f.Tab {
		return []string{".tsv", ".tab"}
	}
	return []string{".csv"}
}

// Flat says that a list has no place in a field, but as JSON.
func (Format) Flat() bool { return true }

func (f Format) options(given map[string]string) (Options, error) {
	o := Options{Header: "auto", MaxRecord: batch.MaxBlock}
	if f.Tab {
		o.Delimiter = '\t'
	}
	for name, value := range given {
		switch name {
		case "delimiter":
			switch value {
			case "tab", `\t`:
				value = "\t"
			}
			if len(value) != 1 || strings.ContainsAny(value, "\"\r\n.+-") || value[0] >= 0x80 || value[0]-'0' <= 9 || (value[0]|0x20)-'a' < 26 {
				return o, serval.Errorf(serval.InvalidArgument, "delimiter %q: give one ASCII character that numbers and quotes do not have, or tab", value).At(name)
			}
			o.Delimiter = value[0]
		case "header":
			if value != "auto" && value != "yes" && value != "no" {
				return o, serval.Errorf(serval.InvalidArgument, "header %q: use auto, yes or no", value).At(name)
			}
			o.Header = value
		case "max_record":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1<<30 {
				return o, serval.Errorf(serval.InvalidArgument, "max_record %q: give the most bytes of a row, 1 to %d", value, 1<<30).At(name)
			}
			o.MaxRecord = n
		case "crlf":
			v, err := strconv.ParseBool(value)
			if err != nil {
				return o, serval.Errorf(serval.InvalidArgument, "crlf %q: use true or false", value).At(name)
			}
			o.CRLF = v
		default:
			return o, serval.Errorf(serval.InvalidArgument, "%s has no option %q; there are delimiter, header, max_record, crlf", f.Name(), name).At(name)
		}
	}
	return o, nil
}

// Open reads the head.
func (f Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	opt, err := f.options(given)
	if err != nil {
		return nil, err
	}
	return open(ctx, o, opt)
}

// Create writes a file.
func (f Format) Create(path string, from batch.Mark, given map[string]string) (batch.Writer, error) {
	opt, err := f.options(given)
	if err != nil {
		return nil, err
	}
	return create(path, from, opt)
}

// Stream writes to a file that is open, such as standard output.
func (f Format) Stream(to *os.File, given map[string]string) (batch.Writer, error) {
	opt, err := f.options(given)
	if err != nil {
		return nil, err
	}
	return newWriter(batch.AppendTo(to), nil, opt), nil
}

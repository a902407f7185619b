package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"serval"
)

// The places of the fields in onnx.proto that this package reads.
const (
	modelGraph, modelTraining, modelFunctions                    = 7, 20, 25
	trainingInit, trainingStep                                   = 1, 2
	functionNode                                                 = 7
	graphNode, graphInitializer, graphSparse                     = 1, 5, 15
	nodeOutput, nodeOp, nodeAttribute                            = 2, 4, 5
	attributeName                                                = 1
	attributeTensor, attributeGraph, attributeString             = 5, 6, 4
	attributeInts, attributeStrings                              = 8, 9
	attributeTensors, attributeGraphs                            = 10, 11
	attributeSparse, attributeSparses                            = 22, 23
	sparseValues, sparseIndices                                  = 1, 2
	tensorName, tensorExternal, tensorLocation, locationExternal = 8, 13, 14, 1
	entryKey, entryValue                                         = 1, 2
)

// deepest is how far messages may stand inside each other; ONNX Runtime's own parser stops at 100.
const deepest = 100

// external is a tensor whose data stands in a file of its own.
type external struct {
	tensor   string
	location string
	offset   int64
	length   int64 // -1: to the file's end
}

// contents is what can be told of a model without loading it.
type contents struct {
	external []external
	classes  map[string][]string // output name → class labels that a ZipMap node gives it
}

// scan reads the whole structure of an ONNX model of the given size, so that one that is cut short, or is no model at
// all, is told apart before ONNX Runtime sees it.
func scan(from io.ReaderAt, size int64) (contents, error) {
	s := scanner{wire: &wire{from: from}}
	if size == 0 {
		return s.found, errors.New("the file is empty")
	}
	whole := span{0, size}
	graphs := 0
	err := s.each(whole, func(f field) error {
		switch f.number {
		case modelGraph:
			if f.kind == wireBytes {
				graphs++
			}
			return s.graph(f.body)
		case modelTraining:
			return s.each(f.body, func(f field) error {
				if f.number == trainingInit || f.number == trainingStep {
					return s.graph(f.body)
				}
				return nil
			})
		case modelFunctions:
			return s.each(f.body, func(f field) error {
				if f.number == functionNode {
					return s.node(f.body)
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && graphs == 0 {
		err = errors.New("not an ONNX model: it holds no graph")
	}
	return s.found, err
}

type scanner struct {
	wire  *wire
	depth int
	found contents
}

// each calls visit for the fields of a message. A field that should be a message but is a number comes with an empty body.
func (s *scanner) each(message span, visit func(field) error) error {
	if s.depth++; s.depth > deepest {
		return fmt.Errorf("not an ONNX model: messages stand more than %d deep", deepest)
	}
	defer func() { s.depth-- }()
	for {
		f, more, err := s.wire.next(&message)
		if err != nil || !more {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
	}
}

func (s *scanner) graph(body span) error {
	return s.each(body, func(f field) error {
		switch f.number {
		case graphNode:
			return s.node(f.body)
		case graphInitializer:
			return s.tensor(f.body)
		case graphSparse:
			return s.sparse(f.body)
		}
		return nil
	})
}

func (s *scanner) node(body span) error {
	var op, output string
	var labels []string
	err := s.each(body, func(f field) (err error) {
		switch f.number {
		case nodeOp:
			op, err = s.wire.text(f.body)
		case nodeOutput:
			output, err = s.wire.text(f.body)
		case nodeAttribute:
			var names []string
			names, err = s.attribute(f.body)
			if names != nil {
				labels = names
			}
		}
		return err
	})
	if op == "ZipMap" && labels != nil {
		if s.found.classes == nil {
			s.found.classes = map[string][]string{}
		}
		s.found.classes[output] = labels
	}
	return err
}

// attribute looks for tensors and graphs in an attribute, and returns the class labels that it lists, if it is that one.
func (s *scanner) attribute(body span) ([]string, error) {
	var name string
	var labels []string
	err := s.each(body, func(f field) (err error) {
		switch f.number {
		case attributeName:
			name, err = s.wire.text(f.body)
		case attributeTensor, attributeTensors:
			return s.tensor(f.body)
		case attributeGraph, attributeGraphs:
			return s.graph(f.body)
		case attributeSparse, attributeSparses:
			return s.sparse(f.body)
		case attributeStrings:
			if name == "classlabels_strings" {
				var label string
				label, err = s.wire.text(f.body)
				labels = append(labels, label)
			}
		case attributeInts:
			if name == "classlabels_int64s" {
				if f.kind == wireVarint {
					labels = append(labels, strconv.FormatInt(int64(f.value), 10))
				}
				for packed := f.body; packed.at < packed.end && err == nil; {
					var v uint64
					v, err = s.wire.varint(&packed)
					labels = append(labels, strconv.FormatInt(int64(v), 10))
				}
			}
		}
		return err
	})
	return labels, err
}

func (s *scanner) sparse(body span) error {
	return s.each(body, func(f field) error {
		if f.number == sparseValues || f.number == sparseIndices {
			return s.tensor(f.body)
		}
		return nil
	})
}

func (s *scanner) tensor(body span) error {
	e := external{length: -1}
	outside := false
	err := s.each(body, func(f field) (err error) {
		switch f.number {
		case tensorName:
			e.tensor, err = s.wire.text(f.body)
		case tensorLocation:
			outside = outside || f.value == locationExternal
		case tensorExternal:
			outside = true
			err = s.entry(f.body, &e)
		}
		return err
	})
	if err != nil || !outside {
		return err
	}
	s.found.external = append(s.found.external, e)
	return nil
}

// entry reads one key and value of a tensor's external_data.
func (s *scanner) entry(body span, e *external) error {
	var key, value string
	err := s.each(body, func(f field) (err error) {
		switch f.number {
		case entryKey:
			key, err = s.wire.text(f.body)
		case entryValue:
			value, err = s.wire.text(f.body)
		}
		return err
	})
	if err != nil {
		return err
	}
	switch key {
	case "location":
		e.location = value
	case "offset":
		e.offset, err = strconv.ParseInt(value, 10, 64)
	case "length":
		e.length, err = strconv.ParseInt(value, 10, 64)
	}
	if err != nil || e.offset < 0 || e.length < -1 {
		return fmt.Errorf("tensor '%s': its external data's %s is %q, which is no number of bytes", e.tensor, key, value)
	}
	return nil
}

// inspect reads the model file before ONNX Runtime does and returns its contents and how many bytes it and its external
// data take. External data must be regular files inside dir, whole and readable.
func inspect(dir, file string) (contents, int64, error) {
	refuse := func(format string, args ...any) (contents, int64, error) {
		return contents{}, 0, serval.Errorf(serval.InvalidArgument, "%s: %w", file, fmt.Errorf(format, args...))
	}
	f, err := os.Open(file)
	if err != nil {
		return contents{}, 0, serval.Errorf(serval.NotFound, "the model file cannot be opened: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return refuse("not a regular file")
	}
	found, err := scan(f, info.Size())
	if err != nil {
		return refuse("%w", err)
	}
	total := info.Size()
	seen := map[string]int64{}
	for _, e := range found.external {
		size, known := seen[e.location]
		if !known {
			if size, err = confined(dir, e.location); err != nil {
				return refuse("tensor '%s' has its data in the file %q, which %w", e.tensor, e.location, err)
			}
			seen[e.location] = size
			total += size
		}
		if e.offset > size || e.length > size-e.offset {
			return refuse("tensor '%s' has its data in the file %q at bytes %d to %d, but the file has %d: it was cut short or is still being copied", e.tensor, e.location, e.offset, e.offset+max(e.length, 0), size)
		}
	}
	return found, total, nil
}

// confined returns the size of the file that location names, which must not lead out of dir.
func confined(dir, location string) (int64, error) {
	switch {
	case location == "":
		return 0, errors.New("has no name")
	case filepath.IsAbs(location) || strings.HasPrefix(location, "/") || strings.Contains(location, "\\"):
		return 0, errors.New("is not a path inside the model's folder; save the model with a relative location")
	case !filepath.IsLocal(location) || strings.Contains(location, ".."):
		return 0, errors.New("leads out of the model's folder; save the model with its data beside it")
	}
	path := filepath.Join(dir, location)
	if _, err := os.Lstat(path); err != nil {
		return 0, errors.New("is missing; copy it into the model's folder")
	}
	inside, err := leadsInside(dir, path)
	if err != nil {
		return 0, errors.New("is a link to nothing; copy the file itself into the model's folder")
	}
	if !inside {
		return 0, errors.New("is a link that leads out of the model's folder; copy the file itself there")
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, errors.New("is not a regular file")
	}
	return info.Size(), nil
}

// leadsInside follows every link in path and says whether the end stands in dir.
func leadsInside(dir, path string) (bool, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false, err
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel), nil
}

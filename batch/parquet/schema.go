package parquet

import (
	"errors"
	"fmt"

	"serval"
	"serval/batch"
	"serval/internal/column"
)

// Fields of the union of logical types, and the older converted types.
const (
	logicalMap       = 2
	logicalList      = 3
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalUUID      = 14
	logicalHalf      = 15

	convertedMap      = 1
	convertedMapKey   = 2
	convertedList     = 3
	convertedDecimal  = 5
	convertedDate     = 6
	convertedTimeMs   = 7
	convertedTimeUs   = 8
	convertedStampMs  = 9
	convertedStampUs  = 10
	convertedUint8    = 11
	convertedInt8     = 15
	convertedInterval = 21

	optional     = 1 // of repetition
	repeated     = 2
	maxNodes     = 200_000
	maxDepth     = 64
	maxLevel     = 255
	maxFixed     = 1 << 20
	secondsOfDay = 86400
	julianOfUnix = 2440588
)

// leaf is a column of the file, as others see it.
type leaf struct {
	batch.Column
	source  column.Source
	phys    int
	width   int // bytes of physFixed
	index   int // of its chunk in a row group
	maxDef  int
	maxRep  int
	listDef int    // definition level from which on a list has an element; its list is there from listDef-1 on
	why     string // it cannot be read; "" if it can
}

// leaves makes the columns of a schema, a depth-first list whose first element is the root.
func leaves(nodes []node) ([]leaf, error) {
	if len(nodes) == 0 || len(nodes) > maxNodes {
		return nil, fmt.Errorf("a schema of %d elements", len(nodes))
	}
	w := walker{nodes: nodes, next: 1}
	for range nodes[0].children {
		if err := w.walk(place{}); err != nil {
			return nil, err
		}
	}
	if w.next != len(nodes) {
		return nil, errors.New("a schema with elements that belong nowhere")
	}
	return w.leaves, nil
}

type walker struct {
	nodes  []node
	next   int
	leaves []leaf
	chunks int
}

// place is where in the tree a node is.
type place struct {
	name    string
	def     int
	rep     int
	depth   int
	list    bool   // the names below are those of a list's layers, not the user's
	listDef int    // of the innermost repeated node
	why     string // what is below cannot be read
}

func (w *walker) walk(at place) error {
	if w.next >= len(w.nodes) {
		return errors.New("a schema that is cut off")
	}
	n := &w.nodes[w.next]
	w.next++
	at.depth++
	if at.depth > maxDepth || n.children < 0 || n.repetition < 0 || n.repetition > repeated {
		return fmt.Errorf("its schema has an impossible element '%s'", n.name)
	}
	if !at.list {
		if at.name != "" {
			at.name += "."
		}
		at.name += n.name
	}
	switch n.repetition {
	case optional:
		at.def++
	case repeated:
		at.def++
		if at.rep++; at.rep > 1 {
			at.why = "holds lists of lists"
		}
		at.listDef = at.def
	}
	if n.phys >= 0 && n.children == 0 {
		return w.leaf(n, at)
	}
	if n.children == 0 {
		return fmt.Errorf("its schema has a group '%s' with nothing in it", at.name)
	}
	if n.logical == logicalMap || n.converted == convertedMap || n.converted == convertedMapKey {
		at.why, at.list = "is a map", true
	}
	if at.rep > 0 && n.children > 1 && at.why == "" {
		at.why = "holds lists of structs"
		at.list = false
	}
	if (n.logical == logicalList || n.converted == convertedList) && n.children == 1 || n.repetition == repeated && n.children == 1 {
		at.list = true
	}
	for range n.children {
		if err := w.walk(at); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) leaf(n *node, at place) error {
	if at.def > maxLevel || at.rep > maxLevel {
		return fmt.Errorf("column '%s' lies too deep", at.name)
	}
	l := leaf{Column: batch.Column{Name: at.name}, phys: n.phys, width: n.width, index: w.chunks, maxDef: at.def, maxRep: at.rep, listDef: at.listDef, why: at.why}
	w.chunks++
	if n.phys == physFixed && (n.width < 1 || n.width > maxFixed) {
		return fmt.Errorf("column '%s' has values of %d bytes", at.name, n.width)
	}
	var ok bool
	if l.source, ok = valueSource(n); !ok {
		return fmt.Errorf("column '%s' has values of an unknown type", at.name)
	}
	l.Type = l.source.DType()
	if l.why != "" {
		l.Type = serval.Bytes
	} else if at.rep > 0 {
		l.Shape = []int64{-1}
	}
	if k := len(w.leaves); k > 0 && w.leaves[k-1].why != "" && w.leaves[k-1].Name == l.Name {
		return nil // a map's values after its keys: one column
	}
	w.leaves = append(w.leaves, l)
	return nil
}

// valueSource says how values of a leaf are kept.
func valueSource(n *node) (column.Source, bool) {
	switch n.phys {
	case physBool:
		return column.Source{Kind: column.Bool}, true
	case physInt32, physInt64:
		return integers(n), true
	case physInt96:
		return column.Source{Kind: column.Fixed, Width: 12, What: "timestamp", Render: renderInt96}, true
	case physFloat:
		return column.Source{Kind: column.Float}, true
	case physDouble:
		return column.Source{Kind: column.Double}, true
	case physBytes:
		if n.logical == logicalDecimal || n.converted == convertedDecimal {
			return column.Source{Kind: column.Text, What: "decimal", Render: column.BigDecimal(n.scale, true), Number: true}, true
		}
		return column.Source{Kind: column.Text}, true
	case physFixed:
		s := column.Source{Kind: column.Fixed, Width: n.width}
		switch {
		case n.logical == logicalDecimal || n.converted == convertedDecimal:
			s.What, s.Render, s.Number = "decimal", column.BigDecimal(n.scale, true), true
		case n.logical == logicalUUID && n.width == 16:
			s.What, s.Render = "uuid", column.UUID
		case n.logical == logicalHalf && n.width == 2:
			return column.Source{Kind: column.Half}, true
		case n.converted == convertedInterval && n.width == 12:
			s.What, s.Render = "interval", renderInterval
		}
		return s, true
	}
	return column.Source{}, false
}

func integers(n *node) column.Source {
	s := column.Source{Kind: column.Int64}
	size := 8
	if n.phys == physInt32 {
		s.Kind, size = column.Int32, 4
	}
	switch {
	case n.logical == logicalDecimal || n.converted == convertedDecimal:
		s.What, s.Render, s.Number = "decimal", column.Decimal(n.scale), true
	case n.logical == logicalDate || n.converted == convertedDate:
		if size == 4 {
			s.What, s.Render = "date", column.Date
		}
	case n.logical == logicalTime || n.converted == convertedTimeMs || n.converted == convertedTimeUs:
		s.What, s.Render = "time", column.TimeOfDay(unitOf(n, convertedTimeUs))
	case (n.logical == logicalTimestamp || n.converted == convertedStampMs || n.converted == convertedStampUs) && size == 8:
		utc := n.utc || n.logical == 0
		s.What, s.Render = "timestamp", column.Timestamp(unitOf(n, convertedStampUs), utc)
	case n.logical == logicalInteger && !n.signed || n.converted >= convertedUint8 && n.converted < convertedInt8:
		if s.Kind = column.Uint64; size == 4 {
			s.Kind = column.Uint32
		}
	}
	return s
}

// unitOf is how many of a time's unit are a second.
func unitOf(n *node, micro int) int64 {
	switch {
	case n.unit == 1:
		return 1e3
	case n.unit == 2 || n.unit == 0 && n.converted == micro:
		return 1e6
	case n.unit == 3:
		return 1e9
	}
	return 1e3
}

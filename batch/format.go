package batch

import (
	"context"
	"encoding/json"
	"io"

	"serval"
)

// Format is one way to keep rows in a file: CSV, JSONL, Parquet, Arrow IPC. Safe for concurrent use.
type Format interface {
	// Name is what `--format` takes: "csv".
	Name() string
	// Extensions are the endings by which a file is known, with the dot: ".csv".
	Extensions() []string
	// Open reads an object's head and says which columns it has. Options are the format's own ("delimiter"); an unknown one is
	// an InvalidArgument that names those that exist.
	Open(context.Context, Object, map[string]string) (Reader, error)
	// Create writes a file on this machine. With a Mark of an earlier Writer it goes on there, and what was written behind it is
	// gone; with a nil Mark the file must not exist.
	Create(path string, from Mark, options map[string]string) (Writer, error)
}

// Object is one file of a data set, wherever it lies.
type Object interface {
	// Name is what errors and the output's names are made of: a path or a URL without secrets.
	Name() string
	// Size in bytes; -1: not known.
	Size() int64
	// Version changes when the content does: an ETag, or size and time. "" where there is none.
	Version() string
	// Open reads from an offset on. Standard input can be opened once, at 0.
	Open(ctx context.Context, offset int64) (io.ReadCloser, error)
	// At reads anywhere; nil where the object can only be read in order, and then formats that need it refuse.
	At() io.ReaderAt
}

// Mark is a place between two rows of a Reader or a Writer, in its own JSON. It is small, and means nothing to others.
type Mark = json.RawMessage

// Column is one column of a data set.
type Column struct {
	Name string
	// Type is how the values are kept; Bytes also for texts, dates and whatever else is written as text. A format without types
	// (CSV) says Bytes.
	Type serval.DType
	// Shape of one value; nil: a single one, [n]: a list of that many, [-1]: a list of any length. More dimensions are nested
	// lists in row-major order; a Reader that was asked for them also takes one flat list of as many values.
	Shape []int64
	// JSON says that the values, of type Bytes, are JSON: lists and objects. Formats with a place for them write them as such.
	JSON bool
}

// MaxBlock is how many bytes a Reader's block takes at most: it ends a block early where n rows would be larger, always at the
// same row. One larger than MaxBlock is a Bad row, or a block of its own.
const MaxBlock = 16 << 20

// Reader reads an object's rows in order. One goroutine uses it. It may also be a Counter.
type Reader interface {
	// Columns are all there are, in the object's order.
	Columns() []Column
	// Select says which columns Read gives, in which order and as which type; it is called once, before Read, with the Mark to
	// go on from (nil: the first row). The columns are some of Columns by name, perhaps with another type or shape; the same
	// one may come twice. One that is not there, or that can never be read as that type, is an InvalidArgument that names it.
	// Texts become numbers as `serval predict` reads them, numbers of another type where they fit; whatever is asked for as Bytes
	// and is no text becomes its JSON. A single value that does not fit makes its row Bad.
	Select(columns []Column, from Mark) error
	// Read makes the block hold the next n rows at most; io.EOF when there are none. Vectors and their Data are the reader's,
	// and used again by the next Read; until then the caller may change them.
	Read(ctx context.Context, b *Block, n int) error
	// Mark is the place before the row that Read would give next.
	Mark() Mark
	Close() error
}

// Counter is what a Reader may be beside: it knows how far it is, in rows or in bytes, out of how many; of 0: not known.
type Counter interface{ Progress() (done, of int64) }

// Splitter is what a Reader may be beside: it says where its object can be cut, so that others read the parts.
type Splitter interface {
	// Split gives places that cut the rows into n parts at most, of about the same size, and says how many rows there are. It is
	// called instead of Select, reads as much of the object as it must, and nothing follows it but Close.
	Split(ctx context.Context, n int) (cuts []Cut, rows int64, err error)
}

// Cut is a place between two rows: the Mark that Select takes, and how many rows are before it.
type Cut struct {
	Mark Mark
	Rows int64
}

// Joiner is what a Format may be beside: it makes one file of several without reading all of their rows.
type Joiner interface {
	// Join writes a new file with the rows of files that the format has written with the same options, in their order, as if one
	// Writer had written all.
	Join(ctx context.Context, path string, parts []string, options map[string]string) error
}

// Block is some consecutive rows, in columns.
type Block struct {
	// Rows that the block covers, the bad ones among them. Numbers count from 1 within the object and leave a header out.
	First int64
	Rows  int // at most n, at least 1
	// Vectors are the selected columns, in that order, each of Rows - len(Bad) values.
	Vectors []Vector
	Bad     []Bad // ascending by Row
}

// Vector is the values of one column.
type Vector struct {
	Name  string
	DType serval.DType
	Shape []int64 // of one value, as in Column; a list of any length makes each row's value Bytes of JSON
	Data  []byte  // little-endian, as in serval.Tensor
	JSON  bool    // as in Column
	Null  []bool  // which values are missing (their Data is zeros, or empty elements); nil: none
}

// Bad is a row that could not be read, or that the model refused.
type Bad struct {
	Row    int64
	Column string // at fault; "" if it is the whole row
	Reason string
	Raw    []byte // the row as it stands, cut at 4 KiB; nil where it cannot be shown
}

// Writer writes rows. One goroutine uses it.
type Writer interface {
	// Write appends rows. The first call settles the columns; another one with others is an error.
	Write(vectors []Vector, rows int) error
	// Sync brings all rows so far to the disk and returns the Mark behind them.
	Sync() (Mark, error)
	// Close completes the file, so that any reader of the format takes it, and brings it to the disk.
	Close() error
	// Abandon closes what is open and leaves the file as the last Sync left it.
	Abandon() error
}

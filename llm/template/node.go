package template

// expr is an expression: eval gives its value. Nodes are not changed once they are made.
type expr interface {
	at() int
	eval(*run) any
}

// stmt is a statement: exec writes its output and says how it ended.
type stmt interface {
	at() int
	exec(*run) flow
}

// flow is how a statement ended.
type flow uint8

const (
	next flow = iota
	breakLoop
	continueLoop
)

// base is a node's place in the source.
type base int

func (b base) at() int { return int(b) }

// Expressions.
type (
	constExpr struct {
		base
		value any
	}
	nameExpr struct {
		base
		id int
	}
	listExpr struct {
		base
		items []expr
		tuple bool
	}
	dictExpr struct {
		base
		keys, values []expr
	}
	attrExpr struct {
		base
		of   expr
		name string
	}
	itemExpr struct {
		base
		of, key expr
	}
	sliceExpr struct {
		base
		start, stop, step expr // nil: left out
	}
	callExpr struct {
		base
		of   expr
		args callArgs
	}
	filterExpr struct {
		base
		of   expr // nil: the text of a block
		name string
		fn   filter // nil: there is none of that name
		args callArgs
	}
	testExpr struct {
		base
		of   expr
		name string
		fn   filter
		args callArgs
	}
	unaryExpr struct {
		base
		op byte // '-', '+' or '!'
		of expr
	}
	binaryExpr struct {
		base
		op          string
		left, right expr
	}
	logicExpr struct {
		base
		or          bool
		left, right expr
	}
	concatExpr struct {
		base
		parts []expr
	}
	compareExpr struct {
		base
		left expr
		ops  []string
		args []expr
	}
	condExpr struct {
		base
		cond, then, other expr // other nil: undefined
	}
)

// callArgs are what a call, filter or test is given.
type callArgs struct {
	pos         []expr
	names       []string
	values      []expr // of names
	list, table expr   // of * and **
}

// Targets of assignments: exactly one of the three is used.
type target struct {
	pos   int
	id    int    // a name
	attr  string // an attribute of the namespace named id
	tuple []target
}

// Statements.
type (
	textStmt struct {
		base
		text string
	}
	outputStmt struct {
		base
		of expr
	}
	ifStmt struct {
		base
		conds  []expr
		bodies [][]stmt // one more than conds if there is an else
	}
	forStmt struct {
		base
		into      target
		over      expr
		filter    expr
		body      []stmt
		otherwise []stmt
		recursive bool
	}
	setStmt struct {
		base
		into target
		of   expr
	}
	captureStmt struct {
		base
		into   target
		filter expr // a chain of filterExpr, or nil
		body   []stmt
	}
	filterStmt struct {
		base
		filter expr
		body   []stmt
	}
	macroStmt struct {
		base
		id   int
		decl *macroDecl
	}
	callStmt struct {
		base
		call *callExpr
		decl *macroDecl
	}
	withStmt struct {
		base
		into   []target
		values []expr
		body   []stmt
	}
	scopeStmt struct { // generation, block: their body in a scope of its own
		base
		body []stmt
	}
	jumpStmt struct {
		base
		how flow
	}
)

// macroDecl is a macro's or call block's head and body.
type macroDecl struct {
	name     string // "": a call block
	ids      []int
	params   []string
	defaults []expr // of the last parameters
	body     []stmt
	// what the body uses beside its parameters
	caller, varargs, kwargs int // ids, -1: not used
}

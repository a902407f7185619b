package format

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// protoNode is a message of which some fields are wanted. Only these are read, straight from the bytes; all others are passed
// over, so that a message costs no more memory than what is wanted of it. It never changes after want.
type protoNode struct {
	fields map[protowire.Number]*protoField
}

// protoField is a field that is wanted, or has wanted ones inside.
type protoField struct {
	desc   protoreflect.FieldDescriptor
	leaves []int                  // places of its own value
	inner  *protoNode             // a message's
	keys   map[string]*protoField // a map's values, by key
}

// want notes a field inside others; it returns nil where the type does not have it.
func (n *protoNode) want(d protoreflect.MessageDescriptor, path []string, leaf int) (protoreflect.FieldDescriptor, error) {
	fd := d.Fields().ByName(protoreflect.Name(path[0]))
	if fd == nil {
		return nil, nil
	}
	if n.fields == nil {
		n.fields = map[protowire.Number]*protoField{}
	}
	f := n.fields[fd.Number()]
	if f == nil {
		f = &protoField{desc: fd}
	}
	found, err := f.want(path[1:], leaf)
	if err == nil && found != nil {
		n.fields[fd.Number()] = f
	}
	return found, err
}

func (f *protoField) want(path []string, leaf int) (protoreflect.FieldDescriptor, error) {
	message := f.desc.Message()
	switch {
	case f.desc.IsMap():
		if len(path) == 0 {
			return nil, wrong("", "it is a map; name one of its keys behind a dot")
		}
		if f.keys == nil {
			f.keys = map[string]*protoField{}
		}
		v := f.keys[path[0]]
		if v == nil {
			v = &protoField{desc: f.desc.MapValue()}
		}
		found, err := v.want(path[1:], leaf)
		if err == nil && found != nil {
			f.keys[path[0]] = v
		}
		return found, err
	case len(path) == 0:
		if message != nil && known[message.FullName()].value == nil {
			return nil, wrong("", "it is the message %s; name one of its fields behind a dot", message.FullName())
		}
		f.leaves = append(f.leaves, leaf)
		return f.desc, nil
	case message == nil || f.desc.IsList():
		return nil, nil
	}
	if f.inner == nil {
		f.inner = &protoNode{}
	}
	return f.inner.want(message, path, leaf)
}

// reset gives the wanted fields below the values of a message in which nothing is set.
func (n *protoNode) reset(values []any, present bool) {
	for _, f := range n.fields {
		f.reset(values, present)
	}
}

func (f *protoField) reset(values []any, present bool) {
	for _, i := range f.leaves {
		switch {
		case f.desc.IsList() && present:
			values[i] = []any(nil)
		case present && !f.desc.HasPresence():
			values[i] = zeroOf(f.desc)
		default:
			values[i] = nil
		}
	}
	if f.inner != nil {
		f.inner.reset(values, false)
	}
}

// zeroOf is what a field without presence has where the message does not have it.
func zeroOf(d protoreflect.FieldDescriptor) any {
	switch v := d.Default(); d.Kind() {
	case protoreflect.EnumKind:
		return enumOf(d, v.Enum())
	case protoreflect.BytesKind:
		return v.Bytes()
	default:
		return v.Interface()
	}
}

func enumOf(d protoreflect.FieldDescriptor, n protoreflect.EnumNumber) any {
	if v := d.Enum().Values().ByNumber(n); v != nil {
		return symbol{string(v.Name()), int32(n)}
	}
	return symbol{strconv.Itoa(int(n)), int32(n)}
}

// read reads a message into values, by the leaves' places.
func (n *protoNode) read(b []byte, values []any) error {
	n.reset(values, true)
	return n.merge(b, values)
}

// merge reads a message, or a further part of one that was begun.
func (n *protoNode) merge(b []byte, values []any) error {
	for len(b) > 0 {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return broken(size)
		}
		b = b[size:]
		f := n.fields[number]
		size = protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return broken(size)
		}
		value := b[:size]
		b = b[size:]
		if f == nil || !f.fits(kind) { // what is written in another way is no value of the field, as the encoding's rules say
			continue
		}
		if o := f.desc.ContainingOneof(); o != nil {
			for i := range o.Fields().Len() { // the last member counts
				if other := n.fields[o.Fields().Get(i).Number()]; other != nil && other != f {
					other.reset(values, false)
				}
			}
		}
		if err := f.take(kind, value, values); err != nil {
			return err
		}
	}
	return nil
}

func broken(code int) error {
	return wrong("", "the message is not what its schema says: %v", protowire.ParseError(code))
}

// fits says whether values of the field are written so; lists of numbers may be packed.
func (f *protoField) fits(kind protowire.Type) bool {
	return kind == wireOf(f.desc.Kind()) || kind == protowire.BytesType && f.desc.IsList() && wireOf(f.desc.Kind()) != protowire.StartGroupType
}

// take reads one value of a field, which fits.
func (f *protoField) take(kind protowire.Type, b []byte, values []any) error {
	list := f.desc.IsList()
	switch {
	case f.keys != nil:
		entry, _ := protowire.ConsumeBytes(b)
		return f.entry(entry, values)
	case f.inner != nil && kind == protowire.BytesType:
		inner, _ := protowire.ConsumeBytes(b)
		if err := f.message(inner, values); err != nil || len(f.leaves) == 0 {
			return err
		}
	case f.inner != nil && kind == protowire.StartGroupType:
		inner, _ := protowire.ConsumeGroup(f.desc.Number(), b)
		return f.message(inner, values)
	case list && kind == protowire.BytesType && wireOf(f.desc.Kind()) != protowire.BytesType: // packed
		packed, _ := protowire.ConsumeBytes(b)
		for len(packed) > 0 {
			size := protowire.ConsumeFieldValue(f.desc.Number(), wireOf(f.desc.Kind()), packed)
			if size < 0 {
				return broken(size)
			}
			if err := f.set(packed[:size], true, values); err != nil {
				return err
			}
			packed = packed[size:]
		}
		return nil
	case len(f.leaves) == 0:
		return nil
	}
	return f.set(b, list, values)
}

// message reads a message inside: the first time from nothing, then further parts of it.
func (f *protoField) message(b []byte, values []any) error {
	if !f.begun(values) {
		f.inner.reset(values, true)
	}
	return f.inner.merge(b, values)
}

// begun says whether some of the message is there already: of a message that is not, no field has a value.
func (f *protoField) begun(values []any) bool {
	for _, g := range f.inner.fields {
		for _, i := range g.leaves {
			if values[i] != nil && values[i] != (absent{}) {
				return true
			}
		}
		if g.inner != nil && g.begun(values) {
			return true
		}
	}
	return false
}

// set gives a field a value.
func (f *protoField) set(b []byte, list bool, values []any) error {
	v, err := scalarOf(f.desc, b)
	if err != nil {
		return err
	}
	for _, i := range f.leaves {
		if list {
			had, _ := values[i].([]any)
			values[i] = append(had, v)
		} else {
			values[i] = v
		}
	}
	return nil
}

// entry reads one key of a map and its value.
func (f *protoField) entry(b []byte, values []any) error {
	key, value := []byte(nil), []byte(nil)
	var kind protowire.Type
	for rest := b; len(rest) > 0; {
		number, t, size := protowire.ConsumeTag(rest)
		if size < 0 {
			return broken(size)
		}
		rest = rest[size:]
		if size = protowire.ConsumeFieldValue(number, t, rest); size < 0 {
			return broken(size)
		}
		switch {
		case number == 1 && t == wireOf(f.desc.MapKey().Kind()):
			key = rest[:size]
		case number == 2:
			value, kind = rest[:size], t
		}
		rest = rest[size:]
	}
	name := ""
	var k any = zeroOf(f.desc.MapKey())
	if key != nil {
		var err error
		if k, err = scalarOf(f.desc.MapKey(), key); err != nil {
			return err
		}
	}
	switch k := k.(type) {
	case string:
		name = k
	case int32:
		name = strconv.FormatInt(int64(k), 10)
	case int64:
		name = strconv.FormatInt(k, 10)
	case uint32:
		name = strconv.FormatUint(uint64(k), 10)
	case uint64:
		name = strconv.FormatUint(k, 10)
	case bool:
		name = strconv.FormatBool(k)
	}
	v := f.keys[name]
	if v == nil {
		return nil
	}
	v.resetEntry(values)
	if value == nil || !v.fits(kind) {
		return nil
	}
	return v.take(kind, value, values)
}

// resetEntry gives the value of a map's key what it is where the entry has none.
func (f *protoField) resetEntry(values []any) {
	for _, i := range f.leaves {
		if f.desc.Message() == nil {
			values[i] = zeroOf(f.desc)
		} else {
			values[i] = nil
		}
	}
	if f.inner != nil {
		f.inner.reset(values, true)
	}
}

package grammar

func (m *maker) schema(source []byte, place string) (*expr, error) { return nil, faultf(place, "soon") }

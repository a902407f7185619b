package llama

// Cache implements engine.Cached. In streams only those of the slots count: the archive's are given up for nobody.
func (d *decoder) Cache() (used, size int) {
	if d.main == nil {
		return 0, 0
	}
	used, size = d.cells.size()-d.idle(), d.cells.size()
	if d.plan.Stream > 0 {
		size = d.slots * d.plan.Stream
	}
	return used, size
}

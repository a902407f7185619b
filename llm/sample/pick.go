package sample

// small is where parting a list further costs more than sorting it.
const small = 24

// nth is the k-th most likely of a list, 1 <= k <= len(list); the list is reordered (quickselect).
func nth(list []candidate, k int) candidate {
	for len(list) > small {
		n := part(list)
		if k <= n {
			list = list[:n]
		} else {
			list, k = list[n:], k-n
		}
	}
	sort(list)
	return list[k-1]
}

// massive is the token with which the most likely ones of a list, which is not empty, reach the mass needed; the last one if
// they do not. The list is reordered (quickselect by weight).
func massive(list []candidate, need float64) candidate {
	for len(list) > small {
		n := part(list)
		mass := 0.0
		for i := range list[:n] {
			mass += list[i].weight
		}
		if need <= mass {
			list = list[:n]
		} else {
			list, need = list[n:], need-mass
		}
	}
	sort(list)
	for i := range list {
		if need -= list[i].weight; need <= 0 {
			return list[i]
		}
	}
	return list[len(list)-1]
}

// part reorders a list of more than three so that its first n, 0 < n < len(list), are all more likely than the others.
func part(list []candidate) (n int) {
	// The median of nine spread over the list: equal logits are told apart by id, so no order of a vocabulary is bad.
	var probe [9]candidate
	step := max(1, len(list)/9)
	count := 0
	for i := step / 2; i < len(list) && count < len(probe); i += step {
		probe[count] = list[i]
		count++
	}
	sort(probe[:count])
	pivot := probe[count/2]
	i, j := 0, len(list)-1
	for i <= j {
		for list[i].before(&pivot) {
			i++
		}
		for pivot.before(&list[j]) {
			j--
		}
		if i <= j {
			list[i], list[j] = list[j], list[i]
			i++
			j--
		}
	}
	return min(max(i, 1), len(list)-1)
}

// sort orders a short list, the most likely first.
func sort(list []candidate) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].before(&list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

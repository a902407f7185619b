package postgres

import (
	"bufio"
	"context"
	"fmt"
	"slices"

	"serval/batch"
)

// Join puts files one behind another, with the first one's head.
func (Format) Join(ctx context.Context, path string, parts []string, _ map[string]string) error {
	var head []field
	return batch.JoinFiles(ctx, path, parts, func(i int, o batch.Object) (int64, error) {
		f, err := o.Open(ctx, 0)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		own, err := readHead(r)
		switch {
		case err != nil || own == nil:
			return 0, err
		case head == nil:
			head = own
			return 0, nil
		case !slices.Equal(head, own):
			return 0, fmt.Errorf("%s has other columns than the parts before it", parts[i])
		}
		again, err := o.Open(ctx, 0)
		if err != nil {
			return 0, err
		}
		defer again.Close()
		line, err := bufio.NewReaderSize(again, 64<<10).ReadBytes('\n')
		return int64(len(line)), err
	})
}

var _ batch.Joiner = Format{}

package sqlstore

import (
	"context"
	"strconv"
)

// insertion is statements that store many rows at once: one for each row costs more than
// what it stores (measured). There are few of them, so that they stay prepared.
type insertion map[int]string // by number of rows

// newInsertion makes them of rows that have so many columns and then constants.
func newInsertion(columns int, constants, before, after string) insertion {
	in := insertion{}
	for _, rows := range []int{1, 8, insertedAtOnce} {
		text := []byte(before + " VALUES ")
		for i := range rows * columns {
			switch {
			case i == 0:
				text = append(text, '(')
			case i%columns == 0:
				text = append(text, constants+"), ("...)
			default:
				text = append(text, ", "...)
			}
			text = strconv.AppendInt(append(text, '$'), int64(i+1), 10)
		}
		in[rows] = string(text) + constants + ")" + after
	}
	return in
}

// insertedAtOnce is how many rows one statement inserts at most.
const insertedAtOnce = 64

// insert stores all rows of a list; args appends what a row holds.
func insert[T any](ctx context.Context, t Tx, in insertion, list []T, args func([]any, T) []any) error {
	var values []any
	for len(list) > 0 {
		n := insertedAtOnce
		for n > len(list) {
			n /= 8
		}
		values = values[:0]
		for _, row := range list[:n] {
			values = args(values, row)
		}
		if err := t.exec(ctx, in[n], values...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

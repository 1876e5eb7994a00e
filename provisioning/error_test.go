package provisioning

import (
	"errors"
	"fmt"
	"testing"
)

func TestDetail(t *testing.T) {
	disk := errors.New("no space left on device")
	for _, test := range []struct {
		err          error
		says, detail string
	}{
		{disk, "no space left on device", "no space left on device"},
		{Errorf(Invalid, "bad file: %w", disk), "bad file: no space left on device", "bad file: no space left on device"},
		{Because(Unavailable, disk, "the database cannot grow"), "the database cannot grow", "the database cannot grow: no space left on device"},
		{fmt.Errorf("open: %w", Because(Unavailable, disk, "it is full")), "open: it is full", "open: it is full: no space left on device"},
		{Because(Unavailable, Because(NotFound, disk, "inner"), "outer"), "outer", "outer: inner: no space left on device"},
	} {
		if got := test.err.Error(); got != test.says {
			t.Errorf("says %q, want %q", got, test.says)
		}
		if got := Detail(test.err); got != test.detail {
			t.Errorf("detail %q, want %q", got, test.detail)
		}
	}
}

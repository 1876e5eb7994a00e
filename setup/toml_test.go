package setup

import (
	"fmt"
	"strings"
	"testing"
)

// TestManyFaultsAreSoonFound: for each fault the document is decoded once more, and that
// must not cost the square of its length: what was found right is set aside.
func TestManyFaultsAreSoonFound(t *testing.T) {
	var doc strings.Builder
	const right, faults = 2000, 99
	for i := range right {
		fmt.Fprintf(&doc, "key%d = %d\n", i, i)
	}
	for i := range faults {
		fmt.Fprintf(&doc, "bad%d = x y z\n", i)
	}
	doc.WriteString("key7 = 1\n")
	d, aside := newDocument([]byte(doc.String())), 0
	d.decode()
	for _, is := range d.aside {
		if is {
			aside++
		}
	}
	if want := right - 1 + faults; aside != want { // key7 is there twice
		t.Errorf("of %d lines %d are set aside, want %d", len(d.lines), aside, want)
	}
	_, mistakes := Parse([]byte(doc.String()), "/")
	if len(mistakes) != right+faults+1 {
		t.Fatalf("%d mistakes", len(mistakes))
	}
	for i, want := range map[int]string{right - 1: ":2000:1: unknown key key1999", right + faults - 1: ":2099:1: unknown key bad98", right + faults: ":2100:1: "} {
		if got := mistakes[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("mistake %d is %q, want %q", i, got, want)
		}
	}
	if got := mistakes[right+faults].Error(); !strings.Contains(got, "key7") {
		t.Errorf("a key that is there twice: %q", got)
	}
}

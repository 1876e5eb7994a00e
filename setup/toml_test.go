package setup

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyFaultsAreSoonFound: for each fault the document is decoded once more, and that
// must not cost the square of its length. It did: 30 seconds, and some more elsewhere.
func TestManyFaultsAreSoonFound(t *testing.T) {
	var doc strings.Builder
	for i := range 12000 {
		fmt.Fprintf(&doc, "key%d = %d\n", i, i)
	}
	for i := range 99 {
		fmt.Fprintf(&doc, "bad%d = x y z\n", i)
	}
	doc.WriteString("key7 = 1\n")
	begin := time.Now()
	_, mistakes := Parse([]byte(doc.String()), "/")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it takes %v", took)
	}
	if len(mistakes) != 12100 {
		t.Fatalf("%d mistakes", len(mistakes))
	}
	for i, want := range map[int]string{11999: ":12000:1: unknown key key11999", 12098: ":12099:1: unknown key bad98", 12099: ":12100:1: "} {
		if got := mistakes[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("mistake %d is %q, want %q", i, got, want)
		}
	}
	if got := mistakes[12099].Error(); !strings.Contains(got, "key7") {
		t.Errorf("a key that is there twice: %q", got)
	}
}

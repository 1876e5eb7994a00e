package typo

import "testing"

// TestNearest finds what was meant, and does not guess wildly.
func TestNearest(t *testing.T) {
	known := []string{"zero-os-v3.13.efi", "zero-os-v3.14.efi", "own.efi"}
	for word, want := range map[string]string{
		"zero-os-v3.14.ef": "zero-os-v3.14.efi", "zero_os-v3.13.efi": "zero-os-v3.13.efi", "onw.efi": "own.efi", "other.img": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"zos-debug", "zos-debug", 0},
		{"zos_debug", "zos-debug", 0},
		{"zos-dbug", "zos-debug", 1},
		{"farmerid", "farmer_id", 1},
		{"kitten", "sitting", 3},
		{"ab", "ba", 2},
	} {
		if got := Distance(tt.a, tt.b); got != tt.want || Distance(tt.b, tt.a) != tt.want {
			t.Errorf("%q, %q: %d and %d, want %d", tt.a, tt.b, got, Distance(tt.b, tt.a), tt.want)
		}
	}
}

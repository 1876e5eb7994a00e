package pages

import (
	"strconv"
	"time"
)

// digits is a number with its thousands set apart.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// groups cuts a digest into pieces of eight digits, which people can compare.
func groups(s string) []string {
	var g []string
	for len(s) > 8 {
		g, s = append(g, s[:8]), s[8:]
	}
	return append(g, s)
}

// moment is a time as a page shows it.
type moment struct {
	Machine string // RFC 3339, for scripts and readers
	Text    string // UTC, for people
}

func timeOf(t time.Time) moment {
	t = t.UTC()
	return moment{t.Format("2006-01-02T15:04:05Z"), t.Format("2006-01-02 15:04:05 UTC")}
}

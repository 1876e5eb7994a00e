package pages

import (
	"fmt"
	"strconv"
	"time"
)

// bytesText is a size for people, in the units that file managers show: "3.1 MB".
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < 1000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// digits is a number with its thousands set apart.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rateText is how fast so many bytes went in that time; empty if it cannot be told.
func rateText(n int64, d time.Duration) string {
	if n <= 0 || d <= 0 {
		return ""
	}
	return bytesText(int64(float64(n)/d.Seconds())) + "/s"
}

// durationText is a duration to the precision that people care for.
func durationText(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
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

// Package human writes sizes, rates and durations as people say them, so that the
// same thing reads the same everywhere.
package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size of so many bytes, in the units that file managers show: "3.1 MB".
func Bytes(n int64) string {
	switch { // the bounds are where the next smaller unit would round up to 1000
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 999_500:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 999_950_000:
		return decimal(float64(n)/1e6) + " MB"
	}
	return decimal(float64(n)/1e9) + " GB"
}

// Rate is how fast so many bytes went in that time, "3.1 MB/s"; empty if it cannot be
// told.
func Rate(n int64, d time.Duration) string {
	if n <= 0 || d <= 0 {
		return ""
	}
	return Bytes(int64(float64(n)/d.Seconds())) + "/s"
}

// Duration is d to the precision that people care for: "640 ms", "2.3 s",
// "1 min 15 s", "3 h 5 min", "4 days".
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	seconds, minutes := int64(d.Round(time.Second)/time.Second), int64(d.Round(time.Minute)/time.Minute)
	switch {
	case d.Round(time.Millisecond) < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d.Round(100*time.Millisecond) < 10*time.Second:
		return decimal(d.Seconds()) + " s"
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 60*60:
		return sum(seconds, "min", "s")
	case minutes < 48*60:
		return sum(minutes, "h", "min")
	}
	return fmt.Sprintf("%d days", d.Round(day)/day)
}

// Ago writes a duration as people say how long ago something was: in minutes, which are
// still true when it is read a little later.
func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
	}
	return Duration(d)
}

// decimal is x with one digit behind the point, unless that is zero.
func decimal(x float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
}

// sum is n of a unit in the unit above, which has 60 of them, and the rest.
func sum(n int64, above, unit string) string {
	if n%60 == 0 {
		return fmt.Sprintf("%d %s", n/60, above)
	}
	return fmt.Sprintf("%d %s %d %s", n/60, above, n%60, unit)
}

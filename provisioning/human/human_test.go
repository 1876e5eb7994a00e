package human

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 996_600: "997 kB", 999_499: "999 kB", 999_500: "1 MB", 64_000_000: "64 MB", 20_450_000: "20.4 MB",
		999_949_999: "999.9 MB", 999_950_000: "1 GB", 1 << 40: "1099.5 GB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, test := range []struct {
		n    int64
		d    time.Duration
		want string
	}{
		{61_300_000, 2 * time.Second, "30.6 MB/s"},
		{1000, time.Minute, "16 bytes/s"},
		{0, time.Second, ""},
		{1000, 0, ""},
	} {
		if got := Rate(test.n, test.d); got != test.want {
			t.Errorf("%d in %s: %q, want %q", test.n, test.d, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 20 * time.Microsecond: "0 ms", 640 * time.Millisecond: "640 ms", 999_600 * time.Microsecond: "1 s",
		2345 * time.Millisecond: "2.3 s", 9949 * time.Millisecond: "9.9 s", 9960 * time.Millisecond: "10 s",
		59_400 * time.Millisecond: "59 s", 59_500 * time.Millisecond: "1 min", 75 * time.Second: "1 min 15 s",
		time.Hour - 400*time.Millisecond: "1 h", 3*time.Hour + 5*time.Minute: "3 h 5 min",
		47*time.Hour + 59*time.Minute: "47 h 59 min", 48 * time.Hour: "2 days", 84 * time.Hour: "4 days",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "less than a minute", 313 * time.Millisecond: "less than a minute", 59 * time.Second: "less than a minute",
		time.Minute: "1 min", 175 * time.Second: "3 min", 179*time.Minute + 40*time.Second: "3 h", 200 * time.Minute: "3 h 20 min", 72 * time.Hour: "3 days",
	} {
		if got := Ago(d); got != want {
			t.Errorf("Ago(%v) is %q, want %q", d, got, want)
		}
	}
}

package setup

import (
	"reflect"
	"strings"
	"testing"
)

func parsed(t *testing.T, lines ...string) Config {
	t.Helper()
	c, mistakes := Parse([]byte(strings.Join(lines, "\n")), "/")
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	return c
}

func TestReload(t *testing.T) {
	started := parsed(t, "http.port = 80", "debug = false")
	first, taken, restart := Reload(started, started, parsed(t, "http.port = 8080", "debug = true", `base-host = "http://a.example"`, `runmodes.lab = "Lab"`))
	if got := strings.Join(taken, " "); got != "base-host debug runmodes" {
		t.Errorf("taken: %s", got)
	}
	if got := strings.Join(restart, " "); got != "http.port" {
		t.Errorf("needs a restart: %s", got)
	}
	if !first.Debug || first.HTTP.Port != 80 || first.BaseHost.Host != "a.example" || first.RunModes["lab"] != "Lab" || started.Debug || started.RunModes["lab"] != "" {
		t.Errorf("runs with %+v; started is %+v", first, started)
	}
	second, taken, restart := Reload(started, first, parsed(t, "http.port = 8080", "debug = true", `runmodes.lab = "Lab"`))
	if strings.Join(taken, " ") != "base-host" || strings.Join(restart, " ") != "http.port" || second.BaseHost != nil {
		t.Errorf("taken %v, restart %v, base-host %v", taken, restart, second.BaseHost)
	}
	back, taken, restart := Reload(started, second, started)
	if !reflect.DeepEqual(back, started) || len(taken) != 2 || restart != nil {
		t.Errorf("taken %v, restart %v, runs with %+v", taken, restart, back)
	}
}

// TestLiveKeysExist: a name in the list that no key has would be a mistake of ours.
func TestLiveKeysExist(t *testing.T) {
	for _, l := range live {
		found := l == runModes
		for _, k := range new(Config).keys() {
			found = found || k.name == l || strings.HasSuffix(l, ".") && strings.HasPrefix(k.name, l)
		}
		if !found {
			t.Errorf("there is no key %s", l)
		}
	}
}

func TestDigest(t *testing.T) {
	a := parsed(t, "# comment", "[http]", "port = 8080", `[runmodes]`, `b = "B"`, `a = "A"`).Digest()
	if b := parsed(t, `http = { port = 8080 }`, `runmodes = { a = "A", b = "B" }`, "debug = false").Digest(); a != b {
		t.Error("the same values have other digests")
	}
	for _, other := range []string{"http.port = 81", `base-host = "http://x"`, `network.address = "10.0.0.1"`, `runmodes.prod = "P"`} {
		if parsed(t, other).Digest() == Default().Digest() {
			t.Errorf("%s changes nothing", other)
		}
	}
}

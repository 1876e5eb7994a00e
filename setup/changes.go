package setup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// live are the keys, and the tables with all their keys, that a running daemon takes
// when it reads the file again. All others need a restart.
var live = []string{
	"base-host", "debug", "network.", "ipxe.template", runModes, "boot.",
	"provisioning.unknown", "provisioning.runmode", "provisioning.farmer", "provisioning.args",
}

// isLive tells whether a key is among live.
func isLive(name string) bool {
	return slices.ContainsFunc(live, func(l string) bool {
		return name == l || strings.HasSuffix(l, ".") && strings.HasPrefix(name, l)
	})
}

// Reload returns the configuration that a daemon runs with which was started with
// started and has read next since; which keys differ from running, what it ran with so
// far; and which differ from started, but need a restart.
func Reload(started, running, next Config) (c Config, taken, restart []string) {
	c = started
	c.RunModes = next.RunModes
	kc, ks, kr, kn := c.keys(), started.keys(), running.keys(), next.keys()
	for i, k := range kn {
		switch {
		case !isLive(k.name):
			if !same(ks[i], k) {
				restart = append(restart, k.name)
			}
		default:
			reflect.ValueOf(kc[i].value).Elem().Set(reflect.ValueOf(k.value).Elem())
			if !same(kr[i], k) {
				taken = append(taken, k.name)
			}
		}
	}
	if !reflect.DeepEqual(running.RunModes, next.RunModes) {
		taken = append(taken, runModes)
	}
	return c, taken, restart
}

func same(a, b key) bool { return reflect.DeepEqual(a.value, b.value) }

// Digest stands for all that the configuration says: equal digests, equal values,
// wherever and however they are written.
func (c Config) Digest() string {
	c.File = ""
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers, and structs and maps of them
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

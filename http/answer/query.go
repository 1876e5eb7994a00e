package answer

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// Query reads the parameters of a URL, and refuses unknown ones: a mistyped
// filter would select everything, a mistyped processor would give the program for another
// one. Those for which passes returns true are left out; nil: none. The error has code
// [provisioning.Invalid].
func Query(raw string, accepted []string, passes func(name string) bool) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad query: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case passes != nil && passes(name):
			delete(q, name)
		case len(accepted) == 0:
			return nil, provisioning.Errorf(provisioning.Invalid, "unknown parameter %.60q: none is accepted here", name)
		case !slices.Contains(accepted, name):
			return nil, provisioning.Errorf(provisioning.Invalid, "unknown parameter %.60q: accepted are %s", name, strings.Join(accepted, ", "))
		case len(q[name]) > 1:
			return nil, provisioning.Errorf(provisioning.Invalid, "parameter %s is given %d times", name, len(q[name]))
		}
	}
	return q, nil
}

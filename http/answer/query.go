package answer

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// CheckQuery refuses parameters of a URL that nobody reads: a mistyped filter would
// select everything, a mistyped processor would give the program for another one.
func CheckQuery(q url.Values, accepted []string) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case len(accepted) == 0:
			return provisioning.Errorf(provisioning.Invalid, "unknown parameter %.60q: none is accepted here", name)
		case !slices.Contains(accepted, name):
			return provisioning.Errorf(provisioning.Invalid, "unknown parameter %.60q: accepted are %s", name, strings.Join(accepted, ", "))
		case len(q[name]) > 1:
			return provisioning.Errorf(provisioning.Invalid, "parameter %s is given %d times", name, len(q[name]))
		}
	}
	return nil
}

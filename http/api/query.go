package api

import (
	"net/url"
	"strconv"

	"farmboot/provisioning"
)

// page is how long a list is that need not be whole, if no limit is given.
const page = 1000

// maxLimit is the longest list that is given at once.
const maxLimit = 10_000

// limit reads the parameter limit, 1 to maxLimit.
func limit(q url.Values, unset int) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit {
		return 0, provisioning.Errorf(provisioning.Invalid, "bad limit %.40q: accepted is a whole number from 1 to %d", s, maxLimit)
	}
	return n, nil
}

// flag reads a parameter that is on or off: "1", "true" or nothing but its name, or
// "0" or "false".
func flag(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	switch s := q.Get(name); s {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	default:
		return false, provisioning.Errorf(provisioning.Invalid, "bad %s %.40q: accepted are 1 and 0", name, s)
	}
}

// macOf reads a parameter that is a MAC address; zero if it is not given.
func macOf(q url.Values, name string) (provisioning.MAC, error) {
	if q.Get(name) == "" {
		return provisioning.MAC{}, nil
	}
	return provisioning.ParseMAC(q.Get(name))
}

// farmerOf reads the parameter farmer; zero if it is not given.
func farmerOf(q url.Values) (provisioning.FarmerID, error) {
	if q.Get("farmer") == "" {
		return 0, nil
	}
	return provisioning.ParseFarmerID(q.Get("farmer"))
}

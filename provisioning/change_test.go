package provisioning_test

import (
	"encoding/json"
	"slices"
	"testing"

	"farmboot/provisioning"
)

func TestDifferences(t *testing.T) {
	for _, test := range []struct {
		what, before, after string
		want                []provisioning.Difference
	}{
		{
			"in the order of a node's fields", `{"mac":"a","args":"x","farmer":1234567,"nbp":"","zeal":1}`, `{"mac":"b","args":"","farmer":0,"nbp":"snponly","zeal":2}`,
			[]provisioning.Difference{{"farmer", "1234567", ""}, {"args", "x", ""}, {"nbp", "", "snponly"}, {"zeal", "1", "2"}},
		},
		{"none", `{"name":"x"}`, `{"name":"x"}`, nil},
		{"something new", ``, `{"id":"x","role":"admin","farmer":null}`, []provisioning.Difference{{"role", "", "admin"}}},
		{"something gone", `{"role":"admin"}`, ``, []provisioning.Difference{{"role", "admin", ""}}},
		{"no objects", `7`, `[]`, nil},
	} {
		got := provisioning.Change{Before: json.RawMessage(test.before), After: json.RawMessage(test.after)}.Differences()
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.what, got, test.want)
		}
	}
}

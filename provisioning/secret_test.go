package provisioning

import "testing"

func TestHideSecret(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"zos-debug":                         "zos-debug",
		"secret=":                           "secret=",
		"a secret=x1 b":                     "a secret=*** b",
		`secret="two words" b`:              "secret=*** b",
		`secret='two words' secret=x`:       "secret=*** secret=***",
		"/iso/prod/1/zos-debug secret=x1 b": "/iso/prod/1/zos-debug secret=*** b",
		"nosecret=x":                        "nosecret=x",
	} {
		if got := HideSecret(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

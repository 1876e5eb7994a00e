package ipxe

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
)

func TestCmdline(t *testing.T) {
	c := testSite().Composer
	for _, tt := range []struct {
		name string
		in   Target
		want string // "" means refused with code
		code provisioning.Code
		says string // part of the refusal
	}{
		{"run mode only", Target{RunMode: "prod"}, "nomodeset version=v3 panic=7200 runmode=prod", "", ""},
		{"all", Target{RunMode: "qa", Farmer: 4294967295, Args: "a=b c"}, "nomodeset version=v3 panic=7200 runmode=qa farmer_id=4294967295 a=b c", "", ""},
		{"space around", Target{RunMode: "prod", Args: "  a "}, "nomodeset version=v3 panic=7200 runmode=prod a", "", ""},
		{"quotes kept", Target{RunMode: "prod", Args: `k="a b" l='c#d'`}, `nomodeset version=v3 panic=7200 runmode=prod k="a b" l='c#d'`, "", ""},
		{"operators inside words", Target{RunMode: "prod", Args: "a&&b c||d e;f"}, "nomodeset version=v3 panic=7200 runmode=prod a&&b c||d e;f", "", ""},
		{"url", Target{RunMode: "prod", Args: "substrate=wss://x/y//z?q"}, "nomodeset version=v3 panic=7200 runmode=prod substrate=wss://x/y//z?q", "", ""},
		{"unknown run mode", Target{RunMode: "production"}, "", provisioning.NotFound, "prod, test, dev, qa"},
		{"newline", Target{RunMode: "prod", Args: "a\nreboot"}, "", provisioning.Invalid, "U+000A"},
		{"carriage return", Target{RunMode: "prod", Args: "a\rb"}, "", provisioning.Invalid, "U+000D"},
		{"tab", Target{RunMode: "prod", Args: "a\tb"}, "", provisioning.Invalid, "U+0009"},
		{"NUL", Target{RunMode: "prod", Args: "a\x00b"}, "", provisioning.Invalid, "U+0000"},
		{"delete", Target{RunMode: "prod", Args: "a\x7fb"}, "", provisioning.Invalid, "U+007F"},
		{"not UTF-8", Target{RunMode: "prod", Args: "a\xff"}, "", provisioning.Invalid, "UTF-8"},
		{"expansion", Target{RunMode: "prod", Args: "a=${net0/mac}"}, "", provisioning.Invalid, "${"},
		{"and", Target{RunMode: "prod", Args: "a && reboot"}, "", provisioning.Invalid, "&&"},
		{"and at the end", Target{RunMode: "prod", Args: "a &&"}, "", provisioning.Invalid, "&&"},
		{"semicolon", Target{RunMode: "prod", Args: "a ; reboot"}, "", provisioning.Invalid, ";"},
		{"semicolon in quotes, which iPXE does not know", Target{RunMode: "prod", Args: "x='a ; reboot'"}, "", provisioning.Invalid, ";"},
		{"or", Target{RunMode: "prod", Args: "|| b"}, "", provisioning.Invalid, "||"},
		{"double quote", Target{RunMode: "prod", Args: `a="b`}, "", provisioning.Invalid, "unbalanced"},
		{"single quote", Target{RunMode: "prod", Args: `a=b'`}, "", provisioning.Invalid, "unbalanced"},
		{"escaped quote, which the kernel does not know", Target{RunMode: "prod", Args: `a=\"b`}, "", provisioning.Invalid, "unbalanced"},
		{"backslash at the end", Target{RunMode: "prod", Args: `a\`}, "", provisioning.Invalid, "unbalanced"},
		{"backslash and a space at the end", Target{RunMode: "prod", Args: `a\ `}, "", provisioning.Invalid, "unbalanced"},
		{"newline at the end", Target{RunMode: "prod", Args: "a\n"}, "", provisioning.Invalid, "U+000A"},
		{"comment for iPXE, in quotes", Target{RunMode: "prod", Args: "k='a #b'"}, "", provisioning.Invalid, "in quotes too"},
		{"comment", Target{RunMode: "prod", Args: "a # b"}, "", provisioning.Invalid, "#"},
		{"comment inside a word", Target{RunMode: "prod", Args: "a#b"}, "", provisioning.Invalid, "#"},
		{"second runmode", Target{RunMode: "prod", Args: "runmode=dev"}, "", provisioning.Invalid, "runmode="},
		{"second runmode, quoted", Target{RunMode: "prod", Args: `'runmode=dev'`}, "", provisioning.Invalid, "runmode="},
		{"second runmode, for who knows no quotes", Target{RunMode: "prod", Args: `x="y runmode=dev z"`}, "", provisioning.Invalid, "runmode="},
		{"second runmode, inside a quoted value", Target{RunMode: "prod", Args: `x='runmode=dev'`}, "", provisioning.Invalid, "runmode="},
		{"second runmode, without a value", Target{RunMode: "prod", Args: "a runmode b"}, "", provisioning.Invalid, `"runmode" without a value`},
		{"ours as a word in a value", Target{RunMode: "prod", Args: `x="a version b"`}, `nomodeset version=v3 panic=7200 runmode=prod x="a version b"`, "", ""},
		{"like ours", Target{RunMode: "prod", Args: "my-runmode=dev"}, "nomodeset version=v3 panic=7200 runmode=prod my-runmode=dev", "", ""},
		{"second version", Target{RunMode: "prod", Args: "x version=v4"}, "", provisioning.Invalid, "version="},
		{"second farmer", Target{RunMode: "prod", Args: "farmer_id=9"}, "", provisioning.Invalid, "farmer_id="},
		{"longest", Target{RunMode: "prod", Args: strings.Repeat("x", maxCmdline-len("nomodeset version=v3 panic=7200 runmode=prod "))}, "long", "", ""},
		{"too long", Target{RunMode: "prod", Args: strings.Repeat("x", maxCmdline-len("nomodeset version=v3 panic=7200 runmode=prod ")+1)}, "", provisioning.Invalid, "1901 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Cmdline(tt.in)
			if tt.want == "" {
				if provisioning.ErrorCode(err) != tt.code || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %q, %v; want code %s saying %q in one line", got, err, tt.code, tt.says)
				}
				return
			}
			if err != nil || tt.want != "long" && got != tt.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
			if tt.want == "long" && len(got) != maxCmdline {
				t.Errorf("longest line has %d bytes", len(got))
			}
		})
	}
}

func TestCheckKernelArgs(t *testing.T) {
	for x, says := range map[string]string{
		"":                                "",
		"nomodeset version=v3 panic=7200": "",
		`quiet x="a#b"`:                   "",
		"version=v3 version=v3":           "version=",
		`version=v3 x="version=v4"`:       "version=",
		"runmode=dev":                     "runmode=",
		"quiet farmer_id=5":               "farmer_id=",
		`x="a`:                            "unbalanced",
		"x=it's":                          "unbalanced",
		`quiet \`:                         "unbalanced",
		"quiet # loud":                    "#",
		"a && reboot":                     "&&",
		"a=${net0/mac}":                   "${",
		"a\nb":                            "U+000A",
	} {
		err := CheckKernelArgs(x)
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", x, err)
			}
		} else if provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want a refusal that says %s", x, err, says)
		}
	}
}

// TestDisguisedCharacters are refused for what they are.
func TestDisguisedCharacters(t *testing.T) {
	for char, says := range map[string]string{
		"\u2028": "separator (U+2028)",
		"\u2029": "separator (U+2029)",
		"\u202e": "direction of writing (U+202E)",
		"\ufeff": "byte order mark",
		"\u200b": "invisible character (U+200B)",
		"\u00ad": "invisible character (U+00AD)",
		"\u00a0": "no-break space (U+00A0)",
		"\u202f": "no-break space (U+202F)",
		"\u3000": "no-break space (U+3000)",
		"\u201c": "curly quote",
		"\u2019": "curly quote",
		"\u02bc": "curly quote",

		"\ufe0f":     "invisible character (U+FE0F)", // variation selectors
		"\U000e0100": "invisible character (U+E0100)",
		"\U000e0061": "invisible character (U+E0061)", // a tag
		"\u034f":     "invisible character (U+034F)",
		"\u2065":     "invisible character (U+2065)",
		"\u3164":     "space without ink",
		"\u2013":     "a dash or minus sign, where the kernel reads - only (U+2013)",
		"\u2212":     "dash or minus sign",
		"\uff1d":     "where the kernel reads = only (U+FF1D)",
		"\uff11":     "where the kernel reads 1 only",
		"\ufffd":     "replacement character",
		"\ue000":     "without a meaning",
		"\ufffe":     "without a meaning",
	} {
		for _, x := range []string{"a=" + char, char + "a", `a="b` + char + `c"`} {
			if err := CheckArgs(x); provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), says) {
				t.Errorf("%+q: %v, want %s", x, err, says)
			}
		}
	}
	for _, x := range []string{"name=Köln", "name=東京", "x=🚜"} {
		if err := CheckArgs(x); err != nil {
			t.Errorf("%s: %v", x, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		path string
		want Target
		code provisioning.Code
	}{
		{"prod", Target{RunMode: "prod"}, ""},
		{"prod/1234", Target{RunMode: "prod", Farmer: 1234}, ""},
		{"prod/", Target{RunMode: "prod"}, ""},
		{"prod/1/a%20b%2Fc", Target{RunMode: "prod", Farmer: 1, Args: "a b/c"}, ""},
		{"prod/1/a___b/k.efi", Target{RunMode: "prod", Farmer: 1, Args: "a/b", Kernel: "k.efi"}, ""},
		{"prod/1//k.efi", Target{RunMode: "prod", Farmer: 1, Kernel: "k.efi"}, ""},
		{"prod/1/a%2520b", Target{RunMode: "prod", Farmer: 1, Args: "a%20b"}, ""}, // once
		{"prod/1/a+b", Target{RunMode: "prod", Farmer: 1, Args: "a+b"}, ""},
		{"prod/0", Target{}, provisioning.Invalid},
		{"prod/-1", Target{}, provisioning.Invalid},
		{"prod/+1", Target{}, provisioning.Invalid},
		{"prod/4294967296", Target{}, provisioning.Invalid},
		{"prod/0x10", Target{}, provisioning.Invalid},
		{"prod/1/%zz", Target{}, provisioning.Invalid},
		{"prod/1/a/k/more", Target{}, provisioning.NotFound},
	} {
		got, err := ParseTarget(strings.Split(tt.path, "/"))
		if provisioning.ErrorCode(err) != tt.code {
			t.Errorf("%s: error %v, want code %q", tt.path, err, tt.code)
			continue
		}
		if tt.code == "" && !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %s", tt.path, cmp.Diff(tt.want, got))
		}
	}
}

func FuzzCmdline(f *testing.F) {
	for _, s := range []string{"", "a=b", "a && b", "a ; b", "${x}", `"a b" 'c'`, "#", "a\nb", "%20", "a%2Fb___c"} {
		f.Add(s)
	}
	c := testSite().Composer
	f.Fuzz(func(t *testing.T, x string) {
		target, err := ParseTarget([]string{"prod", "1", url.PathEscape(x)})
		if err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		line, err := c.Cmdline(target)
		if err != nil {
			return
		}
		if strings.ContainsAny(line, "\n\r\x00") || strings.Contains(line, "${") || len(line) > maxCmdline {
			t.Fatalf("bad line %q", line)
		}
		words, err := Words(line)
		if err != nil {
			t.Fatalf("accepted %q, but %v", line, err)
		}
		for _, key := range ours {
			n := 0
			for _, w := range words {
				if strings.HasPrefix(w, key+"=") {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("%q has %s= %d times", line, key, n)
			}
		}
	})
}

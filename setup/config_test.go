package setup

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pelletier/go-toml/v2"

	"farmboot/provisioning"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestReferenceFileHasTheDefaults(t *testing.T) {
	doc, err := os.ReadFile("../appliance.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, mistakes := Parse(doc, "/etc/farmboot")
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	if d := cmp.Diff(Default(), got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("appliance.toml differs from Default() (-default +file):\n%s", d)
	}
	found, _, _ := settings(doc)
	var inFile, known []string
	for _, s := range found {
		if !s.table && !strings.HasPrefix(s.key, runModes+".") {
			inFile = append(inFile, s.key)
		}
	}
	for _, k := range new(Config).keys() {
		known = append(known, k.name)
	}
	if d := cmp.Diff(known, inFile); d != "" {
		t.Errorf("appliance.toml does not list every key once, in order (-keys +file):\n%s", d)
	}
	lines := strings.Split(string(doc), "\n")
	for _, s := range found {
		if !s.table && !strings.HasPrefix(s.key, runModes+".") && !strings.HasPrefix(lines[s.at.Line-2], "# ") {
			t.Errorf("appliance.toml: no comment above %s", s.key)
		}
	}
}

func TestParse(t *testing.T) {
	const doc = `
base-host = "https://Boot.Example.org:8443/"
state = "var"
network = { interface = ["eth1", "eth2"], address = "10.77.0.2" }
http = { tls-cert = "own.pem", tls-key = "/etc/own.key" }
[kernel]
path = "/srv/kernels"
[provisioning]
database = "postgres://localhost/farm"
unknown = "hold"
runmode = "lab"
farmer = 4294967295
[boot]
ntp = ""
[runmodes]
lab = "Laboratory"
prod = "The real thing"
`
	got, mistakes := Parse([]byte(doc), "/home/op")
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	want := Default()
	want.BaseHost = &url.URL{Scheme: "https", Host: "boot.example.org:8443"}
	want.State = "/home/op/var"
	want.Network = Network{Interfaces: []string{"eth1", "eth2"}, Address: netip.MustParsePrefix("10.77.0.2/32")}
	want.HTTP.TLSCert, want.HTTP.TLSKey = "/home/op/var/own.pem", "/etc/own.key"
	want.Kernel.Path, want.Kernel.NetPath = "/srv/kernels", "/home/op/var/kernel/net"
	want.Provisioning = Provisioning{Database: "postgres://localhost/farm", Unknown: "hold", RunMode: "lab", Farmer: 4294967295}
	want.Boot.NTP = ""
	want.RunModes = provisioning.RunModes{
		"prod": "The real thing", "test": "Testing", "dev": "Development", "qa": "Quality assurance", "lab": "Laboratory",
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each file testdata/mistakes/*.toml is wrong; the golden file beside it holds
// what we say about it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file)
			if _, ok := errors.AsType[Mistakes](err); !ok {
				t.Fatalf("Load gives %v, want Mistakes", err)
			}
			got := strings.ReplaceAll(err.Error(), file, filepath.Base(file)) + "\n"
			golden(t, strings.TrimSuffix(file, ".toml")+".golden", got)
		})
	}
}

// golden compares got with a golden file, or writes that with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

func TestValues(t *testing.T) {
	tests := []struct {
		name string
		good []string
		bad  []string
	}{
		{
			"base-host",
			[]string{`""`, `"http://192.0.2.1"`, `"https://boot.example.org:1"`, `"http://boot_1.lan/"`},
			[]string{
				`"boot.example.org"`, `"ftp://x"`, `"http://"`, `"http://x/y"`, `"http://x?y"`, `"http://x#y"`, `"http://u:p@x"`,
				`"http://x:0"`, `"http://x:65536"`, `"http://x:"`, `"http://${net0/ip}"`, `"http://a b"`, `"http://192.0.2.256"`, `"http://x//"`, `1`,
			},
		},
		{"debug", []string{"true", "false"}, []string{`"true"`, "1"}},
		{"state", []string{`"/var/lib/farmboot"`, `"."`}, []string{`""`, `"a\u0000b"`, "1"}},
		{"network.interface", []string{`""`, `"eth0"`, `[]`, `["a","b.100"]`}, []string{`["a","a"]`, `"eth0 eth1"`, `"eth0/x"`, `"a234567890123456"`, "1", "[1]", `[""]`}},
		{"network.address", []string{`""`, `"10.77.0.2"`, `"10.0.0.0/8"`, `"0.0.0.0/0"`}, []string{`"10.77.0.2/8"`, `"10.77.0"`, `"fd00::1"`, `"fd00::/8"`, `"eth0"`, `["10.0.0.0/8"]`, "10"}},
		{"log-format", []string{`"text"`, `"json"`}, []string{`"logfmt"`, `""`, "true"}},
		{"provisioning.database", []string{`"p.db"`, `"a:b"`, `"postgres://x/y"`, `"postgresql://x/y"`, `"POSTGRES://x/y"`, `"postgres/p.db"`}, []string{`"mysql://x/y"`, `"sqlite://p.db"`, `"postgres//x/y"`, `"SQLite3:/p.db"`, `"host = x dbname=y"`, `""`, "1"}},
		{"dhcp.port", []string{"1", "65535"}, []string{"0", "65536", "-1", "67.0", `"67"`}},
		{"tftp.max-block-size", []string{"512", "65464"}, []string{"511", "65465"}},
		{"provisioning.unknown", []string{`"boot"`, `"hold"`, `"exit"`, `"ignore"`}, []string{`"deny"`, `""`, "true"}},
		{"provisioning.farmer", []string{"0", "4294967295"}, []string{"-1", "4294967296", `"5"`}},
		{"provisioning.args", []string{`""`, `'a="b c" &&c'`}, []string{`"a\nb"`, `"${ip}"`, `"a || b"`, "[]", `"a # b"`, `"runmode=x"`, `'x="'`, `"version=v3"`}},
		{"boot.kernel-args", []string{`""`, `"quiet"`, `"version=v3"`}, []string{`"a\u007f"`, `"a && b"`, `"a ; b"`, `"it's"`, `'a\'`, `'a\ '`, `"a # b"`, `"runmode=x"`, `"farmer_id=1"`, `"version=1 version=2"`}},
		{"boot.ntp", []string{`""`, `"192.0.2.1"`, `"2001:db8::1"`, `"ntp.lan."`}, []string{`"a b"`, `"-x"`, `"http://x"`, `"a;b"`, `"1.2.3"`, "0"}},
		{"openid.issuer", []string{`""`}, []string{
			`"id.example.org"`, `"http://id.example.org"`, `"http://localhost"`, `"https://"`, `"https://id.example.org?x"`, `"https://id.example.org#x"`, `"https://u@id.example.org"`, `"ldap://x"`, "1",
		}},
		{"openid.client-id", []string{`"farmboot"`, `"a b"`}, []string{`"a\nb"`, "1"}},
		{"openid.claim", []string{`"roles"`, `"realm_access.roles"`}, []string{`""`, "[]"}},
		{"openid.admins", []string{`[]`, `["a","b c"]`}, []string{`"a"`, `[""]`, `[1]`, "1"}},
		{"openid.readers", []string{`[]`, `["a"]`}, []string{`"a"`, `["a\n"]`}},
		{"runmodes.lab-2", []string{`"Lab"`}, []string{`""`, `" "`, "1"}},
		{"runmodes.Lab", nil, []string{`"Lab"`}},
		{`runmodes."a b"`, nil, []string{`"Lab"`}},
		{"runmodes.a.b", nil, []string{`"Lab"`}},
	}
	for _, tt := range tests {
		for _, v := range tt.good {
			if _, m := Parse([]byte(tt.name+" = "+v), "/"); m != nil {
				t.Errorf("%s = %s is refused: %v", tt.name, v, m)
			}
		}
		for _, v := range tt.bad {
			if _, m := Parse([]byte(tt.name+" = "+v), "/"); len(m) != 1 || m[0].Line != 1 || m[0].Column != 1 || !strings.Contains(m[0].Message, tt.name) || !strings.Contains(m[0].Message, "accepted") && !strings.Contains(m[0].Message, "bad kernel arguments: ") && !strings.Contains(m[0].Message, "listed twice") {
				t.Errorf("%s = %s: want one mistake at 1:1 that names the key and what is accepted, found %q", tt.name, v, m)
			}
		}
	}
}

func TestOpenIDSettings(t *testing.T) {
	for _, issuer := range []string{"https://id.example.org/realms/farm", "http://127.0.0.1:5556/dex", "http://[::1]:80"} {
		for _, who := range []string{`admins = ["a"]`, `readers = ["a"]`, `farmer-prefix = "f"`} {
			c, mistakes := Parse(fmt.Appendf(nil, "[openid]\nissuer = %q\nclient-id = \"x\"\nclient-secret-file = \"s\"\n%s", issuer, who), "/")
			if mistakes != nil || c.OpenID.Issuer != issuer || c.OpenID.ClientSecretFile != "/var/lib/farmboot/s" || c.OpenID.Claim != "groups" {
				t.Errorf("%s, %s: %+v, %v", issuer, who, c.OpenID, mistakes)
			}
		}
	}
}

func TestParseOneMistake(t *testing.T) {
	// A state folder just as long as the admin socket in it allows.
	longest := "/" + strings.Repeat("x", 107-len("/farmboot.sock")-1)
	for _, tt := range []struct{ doc, want string }{ // want: ":line:column: message"; "": none
		{"state = '" + longest + "'", ""},
		{"state = '" + longest + "x'", ":1:1: state: the path of the admin socket in it, " + longest + "x/farmboot.sock, has 108 bytes: at most 107 are accepted"},
		{"\ufeffdebug = true", ""},
		{"\ufeffdebug = 1", ":1:1: debug: accepted is true or false; found 1"},
		{"debug = ü", ":1:1: debug: accepted is true or false; found ü"},
		{"debug = true\ndhcp.port = 1 ” ä", ":2:1: dhcp.port: accepted is a port, a whole number from 1 to 65535; found 1 ” ä"},
		{`state = "\ä"`, `:1:1: state: \ in "…" begins an escape: write \\ for it, or the text in '…'`},
		{"\xe4 = 1", ":1:1: invalid character at start of key: U+00E4 'ä' (the file is not UTF-8 text)"},
		{"http.port = 80.0", ":1:1: http.port: accepted is a port, a whole number from 1 to 65535; found 80.0"},
		{"http.port = 1e21", ":1:1: http.port: accepted is a port, a whole number from 1 to 65535; found 1e+21"},
		{"provisioning.args = '" + strings.Repeat("x", 1900) + "'", ":1:1: provisioning.args: kernel command line is 1945 bytes long: at most 1900 are accepted (boot.kernel-args, run mode, farmer and provisioning.args together)"},
		{"boot.kernel-args = '" + strings.Repeat("x", 1900) + "'", ":1:1: boot.kernel-args: kernel command line is 1913 bytes long: at most 1900 are accepted (boot.kernel-args, run mode, farmer and provisioning.args together)"},
	} {
		_, mistakes := Parse([]byte(tt.doc), "/")
		if got := mistakes.Error(); got != tt.want {
			t.Errorf("%.60s:\n got %s\nwant %s", tt.doc, got, tt.want)
		}
	}
}

func TestLoadFindsTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Load("absent.toml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that does not exist gives %v", err)
	}
	if c, err := Load(""); err != nil || c.File != "" && c.File != SystemFile {
		t.Errorf("no file: read %q, error %v", c.File, err)
	}
	if err := os.WriteFile(DefaultFile, []byte("debug = true\nstate = \"s\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("")
	if err != nil || !c.Debug || c.File != filepath.Join(wd, DefaultFile) || c.State != filepath.Join(wd, "s") {
		t.Errorf("Load read %+v, error %v", c, err)
	}
	if err := os.WriteFile(DefaultFile, []byte("debug = 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(""); err == nil || !strings.HasPrefix(err.Error(), "appliance.toml:1:1: debug: ") {
		t.Errorf("mistake in the default file: %v", err)
	}
}

// TestHardlyAnyTOML: a file of many faulty lines is not taken for one without any.
func TestHardlyAnyTOML(t *testing.T) {
	for _, line := range []string{"debug = \"a\n", "= x\n", "x = [\n", "\x97\n"} {
		_, mistakes := Parse([]byte(strings.Repeat(line, 3000)), "/")
		if len(mistakes) == 0 {
			t.Errorf("3,000 lines %q are taken for a configuration", line)
		} else if last := mistakes[len(mistakes)-1]; last.Line == 0 {
			t.Errorf("lines %q: the last mistake has no place: %v", line, last)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../appliance.toml") {
		doc, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, mistakes := Parse(doc, "/")
		lines := strings.Count(string(doc), "\n") + 1
		for _, m := range mistakes {
			if m.Message == "" || m.Line > lines {
				t.Errorf("mistake %+v in a file of %d lines", m, lines)
			}
		}
		if err := toml.Unmarshal(bytes.TrimPrefix(doc, []byte("\ufeff")), &map[string]any{}); err != nil && mistakes == nil {
			t.Errorf("accepted, but no TOML: %v", err)
		}
		if mistakes == nil && (!filepath.IsAbs(c.State) || !filepath.IsAbs(c.Kernel.Path) || c.RunModes.Check(c.Provisioning.RunMode) != nil) {
			t.Errorf("accepted, but not good: %+v", c)
		}
	})
}

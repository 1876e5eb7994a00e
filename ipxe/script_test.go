package ipxe

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"farmboot/provisioning"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testSite() Site {
	return Site{
		Composer: Composer{
			KernelArgs: "nomodeset version=v3 panic=7200",
			RunModes:   provisioning.RunModes{"prod": "Production", "test": "Testing", "dev": "Development", "qa": "QA"},
		},
		Base: "http://192.0.2.1",
		NTP:  "pool.ntp.org",
	}
}

var testMAC = provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}

// everyKernel is a kernel folder in which all kernels are.
type everyKernel struct{}

func (everyKernel) Stat(string) (fs.FileInfo, error) { return nil, nil }

// script is what a node gets.
func script(s Site, a provisioning.Assignment) ([]byte, error) {
	a.Policy = provisioning.Boot
	got, err := s.Answer(a, everyKernel{})
	return got.Script, errors.Join(err, got.Refusal)
}

func TestScriptsGolden(t *testing.T) {
	site := testSite()
	bare := site
	bare.NTP, bare.Base = "", "https://boot.example.org:8443"
	node := provisioning.Node{MAC: testMAC, Farmer: 1234, RunMode: "prod", Args: `zos-debug ssh-user="jane doe"`, Name: "rack #3, ${net0/mac} && reboot ; exit"}
	for name, render := range map[string]func() ([]byte, error){
		"boot-prod": func() ([]byte, error) { return site.Boot(Target{RunMode: "prod"}) },
		"boot-dev-farmer-kernel": func() ([]byte, error) {
			return bare.Boot(Target{RunMode: "dev", Farmer: 7, Args: " a=b secret=hush ", Kernel: "zos-v3.efi"})
		},
		"provision":       site.Provision,
		"node-registered": func() ([]byte, error) { return script(site, provisioning.Assignment{Registered: true, Node: node}) },
		"node-unregistered": func() ([]byte, error) {
			return script(site, provisioning.Assignment{Node: provisioning.Node{MAC: testMAC, RunMode: "prod"}})
		},
		"node-candidate": func() ([]byte, error) {
			n := node
			n.Kernel = "zos-v4.efi"
			return script(site, provisioning.Assignment{Registered: true, Candidate: true, Node: n})
		},
		"hold": func() ([]byte, error) { return site.Hold(testMAC, "K7XQ") },
		"hold-square": func() ([]byte, error) {
			near := site
			near.Literal = site.Base
			return near.Hold(testMAC, "K7MC3X")
		},
		"wait": func() ([]byte, error) {
			return site.Wait(node, Wait{Place: 212, Of: 984, About: 95 * time.Second, Sleep: 20 * time.Second, First: true})
		},
		"wait-again": func() ([]byte, error) {
			return site.Wait(provisioning.Node{MAC: testMAC}, Wait{Place: 3, Of: 984, About: 4 * time.Second})
		},
		"wait-unknown": func() ([]byte, error) { return site.Wait(node, Wait{Place: 3, Of: 3, First: true}) },
		"enrol":        func() ([]byte, error) { return site.Enrol(node, [32]byte{0xab, 0xcd}, "") },
		"enrol-missing": func() ([]byte, error) {
			return site.Enrol(provisioning.Node{MAC: testMAC}, [32]byte{0xab}, "the iPXE template folder has no systemd-bootx64.efi: run setup/template.sh")
		},
		"setupmode": func() ([]byte, error) { return site.EnrolSetupMode(node) },
		"exit": func() ([]byte, error) {
			return site.Exit(provisioning.Assignment{Node: provisioning.Node{MAC: testMAC}})
		},
		"exit-registered": func() ([]byte, error) {
			return site.Exit(provisioning.Assignment{Registered: true, Node: node})
		},
		"exit-once": func() ([]byte, error) {
			return site.Exit(provisioning.Assignment{Registered: true, Once: true, Node: node})
		},
		"refused-long-reason": func() ([]byte, error) {
			return site.Refused(node, "missing kernel net/prod.efi: "+strings.Repeat("many words of explanation ", 8))
		},
		"refused-arguments": func() ([]byte, error) {
			n := provisioning.Node{MAC: testMAC, RunMode: "gone; && exit", Args: "a && reboot secret=hush ${net0/mac}"}
			return bare.Refused(n, `unknown run mode "gone; && exit": accepted are prod, test`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, got)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".ipxe")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, d)
	}
}

// TestScriptsAreSound checks what iPXE needs of every script: the magic first
// line, every label that is jumped to exists once, every echo fits the screen.
func TestScriptsAreSound(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.ipxe")
	if err != nil || len(files) < 8 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	jump := regexp.MustCompile(`goto (\w+)`)
	says := regexp.MustCompile(`(^|&& |\|\| )echo ([^-]|-[^-]|--[^ ])`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, []byte("#!ipxe\n")) {
			t.Errorf("%s does not start with #!ipxe", file)
		}
		labels := map[string]int{}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(line, "\n")
			if label, ok := strings.CutPrefix(line, ":"); ok {
				labels[label]++
			}
			if text, ok := strings.CutPrefix(line, "echo -- "); ok && !strings.Contains(text, "${") && len(text) > 79 {
				t.Errorf("%s: %d columns: %s", file, len(text), text)
			}
			if says.MatchString(line) {
				t.Errorf("%s: text that begins with - would end the script: %s", file, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s: trailing space: %q", file, line)
			}
		}
		for _, m := range jump.FindAllStringSubmatch(string(b), -1) {
			if labels[m[1]] != 1 {
				t.Errorf("%s: label %q is there %d times", file, m[1], labels[m[1]])
			}
		}
	}
}

// TestNothingTypedBecomesACommand: whatever a URL or an admin says, a script has
// the same lines and the same commands, or there is no script.
func TestNothingTypedBecomesACommand(t *testing.T) {
	site := testSite()
	plain, err := script(site, provisioning.Assignment{Registered: true, Node: provisioning.Node{MAC: testMAC, Farmer: 1, RunMode: "prod", Args: "x", Name: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`(\$\{net0/mac\}| && | \|\| | ; |\n|\r|reboot|["'#\\ =]|runmode=dev){1,6}`))
		node := provisioning.Node{MAC: testMAC, Farmer: 1, RunMode: "prod", Args: text.Draw(t, "args"), Name: text.Draw(t, "name")}
		got, err := script(site, provisioning.Assignment{Registered: true, Node: node})
		if err != nil {
			if provisioning.ErrorCode(err) != provisioning.Invalid {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if d := cmp.Diff(skeleton(plain), skeleton(got)); d != "" {
			t.Fatalf("script changed shape (-plain +got):\n%s", d)
		}
	})
}

// TestPrettyNamesAreNoCommands: nor does the name of a run mode become one.
func TestPrettyNamesAreNoCommands(t *testing.T) {
	plain, err := testSite().Boot(Target{RunMode: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Production && reboot", "a || b", "a ; b", "${net0/mac}", `back\`, "a\nb"} {
		site := testSite()
		site.RunModes["prod"] = name
		got, err := site.Boot(Target{RunMode: "prod"})
		if d := cmp.Diff(skeleton(plain), skeleton(got)); err != nil || d != "" {
			t.Errorf("%q: %v, script changed shape (-plain +got):\n%s", name, err, d)
		}
	}
}

// skeleton keeps of a script what iPXE acts on: the first word of each line, each
// expansion and each operator; not the optional line that shows arguments.
func skeleton(script []byte) []string {
	var s []string
	// A backslash at its end joins a line with the next (iPXE script.c).
	for line := range strings.Lines(strings.ReplaceAll(string(script), "\\\n", "")) {
		if strings.HasPrefix(line, "echo -- arguments") {
			line = "echo\n"
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		acts := fields[:1]
		for _, f := range fields[1:] {
			if f == "&&" || f == "||" || f == ";" || strings.Contains(f, "${") {
				acts = append(acts, f)
			}
		}
		s = append(s, strings.Join(acts, " "))
	}
	return s
}

// TestNodeScriptsAreTheirOwn: scripts that are remembered show the node that asks, and no
// other.
func TestNodeScriptsAreTheirOwn(t *testing.T) {
	site := Site{Composer: Composer{RunModes: provisioning.RunModes{"prod": "Production"}}, Base: "http://10.0.0.1", Scripts: NewScripts()}
	for _, name := range []string{"", "rack 1", "\x00mac\x00", macGap, "farmer_id=7 " + farmerGap, "${net0/mac}", "", "rack 2", "a && b"} {
		for n, farmer := range []provisioning.FarmerID{7, 0, 8, 10, 4294967295, 9} {
			mac := provisioning.MAC{2, 0, 0, 0, 0, byte(n)}
			a := provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: provisioning.Node{MAC: mac, RunMode: "prod", Name: name, Farmer: farmer, Args: "x=7"}}
			got, err := site.Answer(a, everyKernel{})
			if err != nil || got.Refusal != nil {
				t.Fatal(err, got.Refusal)
			}
			line, err := site.Cmdline(NodeTarget(a.Node))
			if err != nil {
				t.Fatal(err)
			}
			v := site.view(NodeTarget(a.Node), line)
			v.MAC, v.Card, v.Name, v.Registered = mac.String(), mac.String(), say(name), true
			want, err := render("node.ipxe", v)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Script, want) {
				t.Errorf("%q of %s:\n%s\nwant\n%s", name, mac, got.Script, want)
			}
		}
	}
}

// TestLongestLineOfAFarmer: the farmer's id counts, also where the script is remembered.
func TestLongestLineOfAFarmer(t *testing.T) {
	site := Site{Composer: Composer{RunModes: provisioning.RunModes{"prod": "Production"}}, Base: "http://10.0.0.1", Scripts: NewScripts()}
	args := strings.Repeat("x", maxCmdline-len("runmode=prod farmer_id=7 "))
	for _, farmer := range []provisioning.FarmerID{7, 8, 10, 123456, 9} {
		a := provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: provisioning.Node{MAC: provisioning.MAC{2}, RunMode: "prod", Farmer: farmer, Args: args}}
		got, err := site.Answer(a, everyKernel{})
		if fits := farmer < 10; err != nil || (got.Refusal == nil) != fits {
			t.Errorf("farmer %d: %v, %v", farmer, got.Refusal, err)
		}
	}
}

// TestNodeScriptsDependOnAll: whatever a script depends on, another one is not taken for it.
func TestNodeScriptsDependOnAll(t *testing.T) {
	remembers := NewScripts()
	for name, change := range map[string]func(*Site, *provisioning.Assignment){
		"nothing":     func(*Site, *provisioning.Assignment) {},
		"base URL":    func(s *Site, _ *provisioning.Assignment) { s.Base = "https://10.0.0.2" },
		"time server": func(s *Site, _ *provisioning.Assignment) { s.NTP = "10.0.0.3" },
		"site's args": func(s *Site, _ *provisioning.Assignment) { s.KernelArgs = "quiet" },
		"run mode":    func(_ *Site, a *provisioning.Assignment) { a.Node.RunMode = "test" },
		"run mode's name": func(s *Site, _ *provisioning.Assignment) {
			s.RunModes = provisioning.RunModes{"prod": "Another"}
		},
		"farmer":     func(_ *Site, a *provisioning.Assignment) { a.Node.Farmer = 7 },
		"args":       func(_ *Site, a *provisioning.Assignment) { a.Node.Args = "debug" },
		"kernel":     func(_ *Site, a *provisioning.Assignment) { a.Node.Kernel = "old.efi" },
		"candidate":  func(_ *Site, a *provisioning.Assignment) { a.Node.Kernel, a.Candidate = "old.efi", true },
		"registered": func(_ *Site, a *provisioning.Assignment) { a.Registered = false },
	} {
		site := Site{Composer: Composer{RunModes: provisioning.RunModes{"prod": "Production", "test": "Test"}}, Base: "http://10.0.0.1", NTP: "10.0.0.1"}
		a := provisioning.Assignment{Registered: true, Node: provisioning.Node{MAC: provisioning.MAC{2}, RunMode: "prod"}}
		change(&site, &a)
		want, err := script(site, a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		site.Scripts = remembers
		for range 2 {
			if got, err := script(site, a); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
			}
		}
		a.Policy = provisioning.Boot
		if got, err := site.Answer(a, noKernel{}); err != nil || got.Refusal == nil {
			t.Errorf("%s: its kernel is gone, and nothing says so: %v", name, err)
		}
	}
}

// noKernel has none of the kernels.
type noKernel struct{}

func (noKernel) Stat(name string) (fs.FileInfo, error) {
	return nil, provisioning.Errorf(provisioning.NotFound, "no kernel %s", name)
}

func BenchmarkNodeScripts(b *testing.B) {
	for name, scripts := range map[string]*Scripts{"remembered": NewScripts(), "anew": nil} {
		b.Run(name, func(b *testing.B) {
			site := Site{Composer: Composer{RunModes: provisioning.RunModes{"prod": "Production"}}, Base: "http://10.0.0.1", Scripts: scripts}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				node := provisioning.Node{MAC: provisioning.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}, RunMode: "prod", Name: "rack 1", Farmer: provisioning.FarmerID(1 + n%1000)}
				if got, err := site.Answer(provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: node}, everyKernel{}); err != nil || got.Refusal != nil {
					b.Fatal(err, got.Refusal)
				}
			}
		})
	}
}

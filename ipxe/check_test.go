package ipxe

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	c := testSite().Composer
	for _, tt := range []struct {
		mode, args string
		want       string // "severity word: part of message", one a line; "" for no finding
	}{
		{"prod", "", ""},
		{"prod", "zos-debug disable-gpu missing-ssd console=ttyS0 console=tty0", ""},
		{"test", "ssh-user=jane-doe", ""},
		{"prod", "ssh-user=jane-doe", "warning ssh-user=jane-doe: ignores this on prod"},
		{"test", "ssh-user=-jane", "warning ssh-user=-jane: not a GitHub user name"},
		{"prod", "vlan:priv=12 vlan:pub=untagged pub:mac=swap", ""},
		{"prod", "vlan:priv=4095", "warning vlan:priv=4095: 1 to 4094"},
		{"prod", "vlan:pub=0", "warning vlan:pub=0: 1 to 4094"},
		{"prod", "pub:mac=fixed", "warning pub:mac=fixed: random and swap"},
		{"prod", "secret=hunter2", "note secret=…: readable by everybody"},
		{"prod", "zerotier=abc", "warning zerotier: obsolete"},
		{"prod", "disable_gpu", `warning disable_gpu: did you mean "disable-gpu"`},
		{"prod", "zos-dbug", `warning zos-dbug: did you mean "zos-debug"`},
		{"prod", "farmerid=3", `warning farmerid: did you mean "farmer_id"`},
		{"prod", "mitigations=off isolcpus=1-3", ""},
		{"prod", "panic=soon", "warning panic=soon: not a number\nwarning panic: more than once"},
		{"prod", "substrate=https://x", "warning substrate=https://x: WebSocket"},
		{"prod", "k='a b'  c", ""},
		{"prod", "k='a  b'", "warning : one space of several"},
		{"prod", "a && b", "error : free-standing"},
		{"nope", "", "error : unknown run mode"},
	} {
		r := c.Check(Target{RunMode: "prod", Args: tt.args})
		if tt.mode != "prod" {
			r = c.Check(Target{RunMode: "test", Args: tt.args})
		}
		if tt.mode == "nope" {
			r = c.Check(Target{RunMode: "nope"})
		}
		var got []string
		for _, f := range r.Findings {
			got = append(got, string(f.Severity)+" "+f.Word+": "+f.Message)
			if strings.Contains(f.Message, "hunter2") || strings.Contains(f.Word, "hunter2") {
				t.Errorf("%q: the secret is shown: %+v", tt.args, f)
			}
		}
		want := strings.Split(tt.want, "\n")
		if tt.want == "" {
			want = nil
		}
		if len(got) != len(want) {
			t.Errorf("%q: got %q, want %q", tt.args, got, want)
			continue
		}
		for i := range want {
			head, part, _ := strings.Cut(want[i], ": ")
			if !strings.HasPrefix(got[i], head+":") || !strings.Contains(got[i], part) {
				t.Errorf("%q: got %q, want %q", tt.args, got[i], want[i])
			}
		}
		if r.OK() != (r.Cmdline != "") {
			t.Errorf("%q: OK %v with line %q", tt.args, r.OK(), r.Cmdline)
		}
	}
}

func TestEveryWordIsRead(t *testing.T) {
	r := testSite().Check(Target{RunMode: "qa", Farmer: 5, Args: `zos-debug x="y z"`})
	var keys []string
	for _, rd := range r.Readings {
		if rd.Meaning == "" {
			t.Errorf("%s has no meaning", rd.Key)
		}
		keys = append(keys, rd.Key+"="+rd.Value)
	}
	if got, want := strings.Join(keys, ","), "nomodeset=,version=v3,panic=7200,runmode=qa,farmer_id=5,zos-debug=,x=y z"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestComplete(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"", "alert backup completion config doctor events farmer history image kernel migrate node restore secureboot serve status token version"},
		{"no", "node"},
		{"node s", "set show"},
		{"node add --f", "--farmer"},
		{"--config x node add --r", "--runmode"},
		{"token add --role ", "admin farmer"},
		{"token add --role a", "admin"},
		{"completion ", "bash fish zsh"},
		{"node add --farmer ", ""},
		{"nonsense ", "alert backup completion config doctor events farmer history image kernel migrate node restore secureboot serve status token version"},
	} {
		var out bytes.Buffer
		e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &out, now: time.Now}
		if status := run(t.Context(), append([]string{"complete", "--"}, strings.Split(tt.words, " ")...), e); status != exitOK {
			t.Errorf("%q: status %d: %s", tt.words, status, &out)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.words, got, tt.want)
		}
	}
}

// TestBashTakesTheScript lets a real bash complete a command line.
func TestBashTakesTheScript(t *testing.T) {
	script := completions["bash"] + `
farmboot() { printf 'set\nshow\n'; }
COMP_WORDS=(farmboot node s) COMP_CWORD=2
_farmboot
printf '%s,' "${COMPREPLY[@]}"`
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil || string(out) != "set,show," {
		t.Errorf("%v: %s", err, out)
	}
}

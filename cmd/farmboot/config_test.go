package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigCheck(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "a.toml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good, bad := file("debug = true\n"), file("debug = 1\n\n[dhcp]\nprot = 67\n")
	long := file("[provisioning]\nargs = \"" + strings.Repeat("x", 1900) + "\"\n")
	tests := []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string // parts
	}{
		{"good", []string{"config", "check", good}, exitOK, good + ": ok\n", ""},
		{"by flag", []string{"config", "check", "--config", good}, exitOK, good + ": ok\n", ""},
		{"the reference", []string{"config", "check", "../../appliance.toml"}, exitOK, "appliance.toml: ok\n", ""},
		{"two mistakes", []string{"config", "check", bad}, exitRefused, "", bad + ":1:1: debug: accepted is true or false; found 1\nfarmboot: " + bad + ":4:1: unknown key dhcp.prot; did you mean dhcp.port?\n"},
		{"too long a line", []string{"config", "check", long}, exitRefused, "", long + ":2:1: provisioning.args: kernel command line is 1945 bytes long: at most 1900 are accepted"},
		{"two mistakes, another command", []string{"node", "list", "--config", bad}, exitRefused, "", "farmboot: " + bad + ":1:1: debug: accepted is true or false; found 1 (and 1 more: see farmboot config check " + bad + ")\n"},
		{"absent", []string{"config", "check", "absent.toml"}, exitRefused, "", "absent.toml: no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), tt.args, &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now})
			if status != tt.status || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q; want %d, %q, %q", status, stdout.String(), stderr.String(), tt.status, tt.stdout, tt.stderr)
			}
			if tt.stdout == "" && stdout.Len() > 0 || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("unwanted output: stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	first, second := errors.New("no\x1b[2J\nth\x9bing ü"), errors.New("nor this")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{second, "nor this"},
		{first, `no\x1b[2J\nth\x9bing ü`},
		{errors.Join(second, nil), "nor this"},
		{errors.Join(errors.Join(second, first), second), `nor this; no\x1b[2J\nth\x9bing ü; nor this`},
		{fmt.Errorf("a %w, %w", second, second), "a nor this, nor this"},
	} {
		if got := oneLine(tt.err); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.err, got, tt.want)
		}
	}
}

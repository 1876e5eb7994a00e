package main

import (
	"bytes"
	"encoding/pem"
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
		{"a folder", []string{"config", "check", "testdata"}, exitRefused, "", "farmboot: read configuration: testdata is a folder: name the file in it\n"},
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

// TestConfigCheckFiles: the files that a configuration names are looked at as the daemon reads them.
func TestConfigCheckFiles(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	write := func(name, text string) string {
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pair := func(name string, end time.Time) (cert, key string) {
		in := filepath.Join(folder, name)
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		return certificate(t, in, end)
	}
	cert, key := pair("good", now.AddDate(0, 6, 0))
	old, oldKey := pair("old", now.AddDate(0, 0, -3))
	text, empty, absent := write("cert.txt", "no certificate\n"), write("empty", ""), filepath.Join(folder, "absent.pem")
	openid := func(secret string) string {
		return fmt.Sprintf("openid.issuer = \"https://id.example.org\"\nopenid.client-id = \"x\"\nopenid.admins = [\"a\"]\nopenid.client-secret-file = %q", secret)
	}
	for _, tt := range []struct {
		name           string
		cert, key      string
		more           string
		status         int
		stdout, stderr string // parts
	}{
		{"good", cert, key, "", exitOK, "ok", ""},
		{"a certificate that is not there", absent, key, "", exitRefused, "", "http.tls-cert: open " + absent + ": no such file"},
		{"a key that is not there", cert, absent, "", exitRefused, "", "http.tls-key: open " + absent + ": no such file"},
		{"a key of another one", cert, oldKey, "", exitRefused, "", "http.tls-cert " + cert + ", http.tls-key " + oldKey + ": tls: private key does not match"},
		{"no certificate", text, key, "", exitRefused, "", "http.tls-cert " + text},
		{"an empty one", empty, key, "", exitRefused, "", "http.tls-cert " + empty},
		{"a folder", folder, key, "", exitRefused, "", "http.tls-cert: " + folder},
		{"one that has ended", old, oldKey, "", exitOK, "ok", "farmboot: warning: "},
		{"beside a mistake", absent, key, "debug = 1", exitRefused, "", "debug: accepted is true or false"},
		{"below the state folder", "good/cert.pem", "good/key.pem", fmt.Sprintf("state = %q", folder), exitOK, "ok", ""},
		{"not below it", "old/absent.pem", "good/key.pem", fmt.Sprintf("state = %q", folder), exitRefused, "", "http.tls-cert: open " + filepath.Join(folder, "old/absent.pem") + ": no such file"},
		{"below one that is not known", "good/cert.pem", "good/key.pem", "state = 5", exitRefused, "", "state: accepted is"},
		{"below one that is misspelled", "good/cert.pem", "good/key.pem", fmt.Sprintf("stat = %q", folder), exitRefused, "", "unknown key stat; did you mean state?"},
		{"below one that is written twice", "good/cert.pem", "good/key.pem", fmt.Sprintf("state = %q\nstate = \"/\"", folder), exitRefused, "", "state"},
		{"a folder as the secret", cert, key, openid(folder), exitOK, "ok", "openid.client-secret-file: " + folder + " is a folder"},
		{"an empty secret", cert, key, openid(write("blank", " \n")), exitOK, "ok", "openid.client-secret-file: " + filepath.Join(folder, "blank") + " is empty: write the secret there"},
		{"a key with a passphrase", cert, write("pkcs8.pem", secretKey("ENCRYPTED PRIVATE KEY", nil)), "", exitRefused, "", "http.tls-key: " + filepath.Join(folder, "pkcs8.pem") + " is encrypted"},
		{"an older key with one", cert, write("pkcs1.pem", secretKey("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"})), "", exitRefused, "", "is encrypted, and nobody is there to type its passphrase when the daemon starts: openssl pkey "},
		{"for another name", cert, key, `base-host = "https://boot.example.org"`, exitOK, "ok", "http.tls-cert " + cert + ": it is for localhost, 127.0.0.1, and not for boot.example.org, which base-host names"},
		{"for that name", cert, key, `base-host = "https://localhost"`, exitOK, "ok", ""},
		{"no secret", cert, key, openid(absent), exitOK, "ok", "openid.client-secret-file: open " + absent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write("a.toml", fmt.Sprintf("%s\nhttp.tls-cert = %q\nhttp.tls-key = %q\n", tt.more, tt.cert, tt.key))
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), []string{"config", "check", file}, &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now})
			if status != tt.status || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || (tt.stdout == "") != (stdout.Len() == 0) || (tt.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("exit %d, stdout %q, stderr %q; want %d, %q, %q", status, stdout.String(), stderr.String(), tt.status, tt.stdout, tt.stderr)
			}
			if tt.cert == absent && !strings.Contains(stderr.String(), absent) {
				t.Errorf("the certificate is not among the mistakes: %s", stderr.String())
			}
			if strings.HasPrefix(tt.cert, "good/") && strings.Contains(stderr.String(), "tls-") {
				t.Errorf("a certificate that may be elsewhere is among the mistakes: %s", stderr.String())
			}
		})
	}
}

// secretKey is a key in PEM that nobody reads without its passphrase.
func secretKey(kind string, headers map[string]string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("secret")}))
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

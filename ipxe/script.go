package ipxe

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/url"
	"path"
	"strings"
	"text/template"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/human"
)

// Site is what every script knows of its appliance. Its methods render the
// scripts: deterministic, ASCII as far as they are ours, always whole.
type Site struct {
	Composer
	Base string // URL by which nodes reach us, without a slash at the end
	NTP  string // host name of a time source; "": none

	// Literal is Base by plain HTTP and our address, for whoever reads it off a screen;
	// "": unknown.
	Literal string

	Scripts *Scripts // of nodes; nil: each is rendered anew
}

//go:embed scripts/*.ipxe
var templateFiles embed.FS

// templates are parsed once; they are read-only from then on.
var templates = template.Must(template.New("").Option("missingkey=error").
	Funcs(template.FuncMap{"say": say, "wrap": wrap}).ParseFS(templateFiles, "scripts/*.ipxe"))

// view is what the templates show of a target.
type view struct {
	Base, NTP  string
	MAC        string
	Name       string // as it may be echoed
	Registered bool
	RunMode    provisioning.RunMode
	Pretty     string
	Farmer     string // "": none
	Args       string // as it may be shown
	Kernel     string
	KernelName string // as iPXE calls it: the last element of its URL
	KernelURL  string
	Card       string // MAC address of the card that asks, or how iPXE calls that
	Candidate  string // kernel that is tried on a few nodes, this one among them; "": none
	Cmdline    string
}

// Boot renders the script of /ipxe/R/F/X/K, which images carry: it brings up the
// network on any card, fetches the kernel and starts it. The error is that of
// [Composer.Cmdline].
func (s Site) Boot(t Target) ([]byte, error) {
	line, err := s.Cmdline(t)
	if err != nil {
		return nil, err
	}
	return render("boot.ipxe", s.view(t, line))
}

func (s Site) view(t Target, line string) view {
	return view{
		Base: s.Base, NTP: s.NTP,
		RunMode: t.RunMode, Pretty: s.RunModes[t.RunMode], Farmer: farmerText(t.Farmer), Args: shown(t.Args),
		Card:   "${net${nic}/mac}",
		Kernel: t.KernelPath(), KernelName: path.Base(t.KernelPath()), KernelURL: s.Base + "/kernel/" + escapePath(t.KernelPath()), Cmdline: line,
	}
}

// farmerText is how a script shows a farmer; "": there is none.
func farmerText(id provisioning.FarmerID) string {
	if id == 0 {
		return ""
	}
	return id.String()
}

// Provision renders the script that goes into network boot programs and into
// the krn-provision and uefi-provision images: it brings up the network on any
// card and chains to /provision/<mac of that card>. It asks for its address under
// the user class "farmboot" (RFC 3004), by which our proxyDHCP knows its own.
func (s Site) Provision() ([]byte, error) {
	return render("provision.ipxe", view{Base: s.Base})
}

// ClaimURL is where whoever has a node's claim code claims it.
func (s Site) ClaimURL(code string) string { return s.Base + "/admin/discovered?claim=" + code }

// Hold renders the script of a node that waits for its claim code to be used. It
// asks /provision/MAC?held=1, where it is left waiting until that happened, or a
// while. A QR code says where, if the address is one that fits a screen.
func (s Site) Hold(m provisioning.MAC, code string) ([]byte, error) {
	var rows []squareRow
	if code != "" {
		rows = square(s.Literal, code, s.beside(m, code))
	}
	return render("hold.ipxe", map[string]any{"Base": s.Base, "MAC": m, "Code": code, "ClaimURL": s.ClaimURL(code), "Rows": rows})
}

// Wait is how a node waits for its turn to fetch its kernel.
type Wait struct {
	Place, Of int           // in the queue, from 1
	About     time.Duration // for how long, about; 0: that is not known
	Sleep     time.Duration // before it asks again, in whole seconds; 0: it asks at once, and is left waiting
	First     bool          // it is told what it waits for, not only which place it has
}

// Wait renders the script of a node that waits for its turn. It asks
// /provision/MAC?waits=1, until it gets the script that boots it.
func (s Site) Wait(n provisioning.Node, w Wait) ([]byte, error) {
	about := ""
	if w.About > 0 {
		about = human.Duration(w.About)
	}
	return render("wait.ipxe", map[string]any{
		"Base": s.Base, "MAC": n.MAC, "Name": n.Name, "Place": w.Place, "Of": w.Of, "About": about,
		"Sleep": int(w.Sleep.Seconds()), "First": w.First,
	})
}

// Enrol renders the script of a node that is to be made to trust a signing key of ours:
// it starts MokManager with the certificate at hand. A person presses the keys that it
// names. missing says why firmware that is in Setup Mode is not given the key without a
// person; "": it is not in Setup Mode.
func (s Site) Enrol(n provisioning.Node, fingerprint [sha256.Size]byte, missing string) ([]byte, error) {
	// As MokManager shows it: pairs of digits, in lines.
	text := fmt.Sprintf("% X", fingerprint)
	half := len(text)/2 + 1
	return render("enrol.ipxe", map[string]any{
		"Base": s.Base, "MAC": n.MAC, "Name": n.Name,
		"Fingerprint": []string{strings.TrimSpace(text[:half]), text[half:]},
		"Missing":     missing,
	})
}

// EnrolSetupMode renders the script of a node that is to be made to trust our key, and
// whose firmware is in Setup Mode: it boots the disk that writes the key into it.
func (s Site) EnrolSetupMode(n provisioning.Node) ([]byte, error) {
	return render("setupmode.ipxe", map[string]any{"Base": s.Base, "MAC": n.MAC, "Name": n.Name})
}

// Exit renders the script of a node that goes on to its next boot device: it is not
// registered, or so.
func (s Site) Exit(a provisioning.Assignment) ([]byte, error) {
	return render("exit.ipxe", map[string]any{"MAC": a.Node.MAC, "Name": a.Node.Name, "Registered": a.Registered, "Once": a.Once})
}

// Refused renders the script of a node that we cannot boot now, and says why. It
// is sent with status 200, for iPXE shows nothing of an error's text.
func (s Site) Refused(n provisioning.Node, reason string) ([]byte, error) {
	return render("refused.ipxe", map[string]any{
		"Base": s.Base, "MAC": n.MAC, "Name": n.Name, "Reason": reason,
		// They may be what it is refused for.
		"RunMode": say(string(n.RunMode)), "Pretty": s.RunModes[n.RunMode], "Farmer": n.Farmer, "Args": shown(n.Args),
	})
}

// shown is what of arguments may be seen by whoever passes the screen.
func shown(args string) string { return provisioning.HideSecret(strings.Trim(args, " ")) }

func render(name string, data any) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, 4<<10)) // no script of ours is longer
	if err := templates.ExecuteTemplate(b, name, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// escapePath percent-encodes the elements of a path.
func escapePath(p string) string {
	elems := strings.Split(p, "/")
	for i, e := range elems {
		elems[i] = url.PathEscape(e)
	}
	return strings.Join(elems, "/")
}

// say makes text that people typed safe to echo: one line of printable ASCII in
// which iPXE finds nothing to expand, no second command, no comment, and no backslash
// at its end, by which the next line would become part of it.
func say(s string) string {
	words := strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s))
	for i, w := range words {
		if operator(w) || strings.HasSuffix(w, `\`) || w[0] == '#' {
			words[i] = "'" + w + "'"
		}
	}
	return strings.ReplaceAll(strings.Join(words, " "), "${", "$ {")
}

// wrap breaks text into lines for an 80-column screen, each safe to echo.
func wrap(s string) []string {
	const width = 74
	var lines []string
	line := ""
	for w := range strings.FieldsSeq(say(s)) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+w, " ")
	}
	return append(lines, line)
}

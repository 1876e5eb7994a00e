package ipxe

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/typo"
)

// Severity says how bad a [Finding] is.
type Severity string

// The severities.
const (
	Fault   Severity = "error"   // it would break the node; refused
	Warning Severity = "warning" // it works, but is probably not what was meant
	Note    Severity = "note"    // worth knowing
)

// Finding is one remark on a kernel command line.
type Finding struct {
	Severity Severity `json:"severity"`
	Word     string   `json:"word,omitempty"` // what it is about, as typed; empty: the whole
	Message  string   `json:"message"`        // one line for people
}

// String writes the finding in one line.
func (f Finding) String() string {
	if f.Word == "" {
		return f.Message
	}
	return f.Word + ": " + f.Message
}

// Reading is one word of a kernel command line, as Zero-OS reads it.
type Reading struct {
	Key     string `json:"key"`
	Value   string `json:"value,omitempty"`
	Meaning string `json:"meaning"`
}

// Report explains a kernel command line the way Zero-OS will read it.
type Report struct {
	Cmdline  string    `json:"cmdline,omitempty"` // the whole line; empty if it is refused
	Readings []Reading `json:"readings,omitempty"`
	Findings []Finding `json:"findings"`
}

// OK tells whether the report has no [Fault].
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Fault })
}

// Check explains what a node with target t would be given. It is the one checker
// behind the command line, the API, imports and the pages; what it calls a [Fault]
// is exactly what [Composer.Cmdline] refuses.
func (c Composer) Check(t Target) Report {
	line, err := c.Cmdline(t)
	if err != nil {
		return Report{Findings: []Finding{{Severity: Fault, Message: err.Error()}}}
	}
	r := Report{Cmdline: line, Findings: []Finding{}}
	words, err := Words(line)
	if err != nil { // kernel-args that CheckKernelArgs has not seen
		r.Findings = append(r.Findings, Finding{Fault, "", "[boot] kernel-args: " + err.Error()})
		return r
	}
	if single, err := Words(strings.Join(strings.Fields(line), " ")); err != nil || !slices.Equal(single, words) {
		r.Findings = append(r.Findings, Finding{Warning, "", "iPXE makes one space of several, in quotes too"})
	}
	seen := map[string]bool{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		p := lookUp(key)
		r.Readings = append(r.Readings, Reading{key, p.shown(value), p.meaning})
		if p.check != nil {
			if f := p.check(value, t); f != nil {
				f.Word = key + "=" + p.shown(value)
				r.Findings = append(r.Findings, *f)
			}
		}
		switch {
		case p.kind == obsolete:
			r.Findings = append(r.Findings, Finding{Warning, key, p.meaning})
		case p.kind == unknown:
			if like := nearest(key); like != "" {
				r.Findings = append(r.Findings, Finding{Warning, key, fmt.Sprintf("nobody reads %q; did you mean %q?", key, like)})
			}
		case seen[key] && key != "console":
			r.Findings = append(r.Findings, Finding{Warning, key, "given more than once: only one of them counts"})
		}
		seen[key] = true
	}
	return r
}

// CheckWith is Check, with a warning where t has no kernel to boot.
func (c Composer) CheckWith(t Target, kernels Kernels) Report {
	r := c.Check(t)
	if _, err := c.Bootable(t, kernels); err != nil && r.OK() {
		r.Findings = append(r.Findings, Finding{Warning, "", err.Error()})
	}
	return r
}

// kind says who reads a parameter.
type kind int

const (
	unknown kind = iota
	zeroOS
	linux
	obsolete
)

// parameter is a key that may stand on a kernel command line.
type parameter struct {
	key     string
	kind    kind
	meaning string
	secret  bool // its value is shown to nobody
	check   func(value string, t Target) *Finding
}

func (p parameter) shown(value string) string {
	if p.secret && value != "" {
		return "…"
	}
	return value
}

// parameters are what Zero-OS reads (v3, October 2026), what it no longer reads,
// and the parameters of Linux that people give most.
var parameters = []parameter{
	{"runmode", zeroOS, "the grid that the node joins", false, func(v string, _ Target) *Finding {
		if slices.Contains([]string{"prod", "test", "dev", "qa"}, v) {
			return nil
		}
		if v == "development" {
			return &Finding{Warning, "", "the parts of Zero-OS disagree about what \"development\" means; write dev"}
		}
		return &Finding{Warning, "", "Zero-OS itself knows only prod, test, dev and qa"}
	}},
	{"version", zeroOS, "the generation of Zero-OS", false, oneOf("v3", "v3light")},
	{"farmer_id", zeroOS, "the farm that the node belongs to", false, nil},
	{"zos-debug", zeroOS, "debug log on the screen", false, nil},
	{"zos-debug-vm", zeroOS, "debug mode for virtual machines", false, nil},
	{"disable-gpu", zeroOS, "graphics cards are left alone (the cure for a frozen screen)", false, nil},
	{"missing-ssd", zeroOS, "a node without an SSD may start", false, nil},
	{"ssh-user", zeroOS, "this GitHub user may log in by SSH", false, func(v string, t Target) *Finding {
		switch {
		case !githubName.MatchString(v):
			return &Finding{Warning, "", "not a GitHub user name: nobody will be able to log in"}
		case t.RunMode == "prod":
			return &Finding{Warning, "", "Zero-OS ignores this on prod"}
		}
		return nil
	}},
	{"vlan:priv", zeroOS, "VLAN of the private network", false, vlan},
	{"vlan:pub", zeroOS, "VLAN of the public network", false, vlan},
	{"pub:mac", zeroOS, "how the public interface gets its MAC address", false, oneOf("random", "swap")},
	{"secret", zeroOS, "the farm's secret", true, func(string, Target) *Finding {
		return &Finding{Note, "", "boot scripts are readable by everybody on the LAN, and so is this secret"}
	}},
	{"substrate", zeroOS, "address of the TFChain node", false, webSocket},
	{"relay", zeroOS, "address of the message relay", false, webSocket},
	{"activation", zeroOS, "address of the activation service", false, nil},

	{"zerotier", obsolete, "obsolete: Zero-OS v3 has no ZeroTier network; the farm goes into farmer_id", false, nil},
	{"organization", obsolete, "obsolete: was read by Zero-OS v1; the farm goes into farmer_id", false, nil},
	{"farmer", obsolete, "obsolete: the farm goes into farmer_id", false, nil},
	{"farm_id", obsolete, "obsolete: the farm goes into farmer_id", false, nil},
	{"development", obsolete, "obsolete: run mode dev says this", false, nil},
	{"support", obsolete, "obsolete: was read by Zero-OS v1", false, nil},

	{"nomodeset", linux, "Linux: keep the firmware's screen mode", false, nil},
	{"panic", linux, "Linux: reboot so many seconds after a crash", false, number},
	{"console", linux, "Linux: where kernel messages go", false, nil},
	{"quiet", linux, "Linux: say little", false, nil},
	{"debug", linux, "Linux: say much", false, nil},
	{"loglevel", linux, "Linux: how much to say, 0 to 7", false, number},
	{"earlyprintk", linux, "Linux: messages before the console is up", false, nil},
	{"root", linux, "Linux: the root file system", false, nil},
	{"init", linux, "Linux: the first program", false, nil},
	{"net.ifnames", linux, "Linux: how network cards are named", false, nil},
	{"intel_iommu", linux, "Linux: I/O memory management on Intel", false, nil},
	{"amd_iommu", linux, "Linux: I/O memory management on AMD", false, nil},
	{"iommu", linux, "Linux: I/O memory management", false, nil},
	{"acpi", linux, "Linux: ACPI", false, nil},
	{"pci", linux, "Linux: PCI", false, nil},
	{"nvme_core.default_ps_max_latency_us", linux, "Linux: power saving of NVMe disks", false, nil},
	{"modprobe.blacklist", linux, "Linux: drivers not to load", false, nil},
}

// lookUp finds a parameter by key, as exactly as Zero-OS compares it.
func lookUp(key string) parameter {
	if i := slices.IndexFunc(parameters, func(p parameter) bool { return p.key == key }); i >= 0 {
		return parameters[i]
	}
	return parameter{key: key, meaning: "not known here; the kernel gets it as it is"}
}

// nearest returns the parameter of Zero-OS that key was probably meant to be.
func nearest(key string) string {
	best, like := 3, "" // two typing errors at the most
	for _, p := range parameters {
		if d := typo.Distance(strings.ToLower(key), p.key); p.kind == zeroOS && d < best && d*3 <= len(p.key) {
			best, like = d, p.key
		}
	}
	return like
}

var githubName = regexp.MustCompile(`^[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}$`)

func oneOf(values ...string) func(string, Target) *Finding {
	return func(v string, _ Target) *Finding {
		if slices.Contains(values, v) {
			return nil
		}
		return &Finding{Warning, "", "Zero-OS knows only " + strings.Join(values, " and ")}
	}
}

func vlan(v string, _ Target) *Finding {
	if n, err := strconv.Atoi(v); v == "none" || v == "untagged" || err == nil && n >= 1 && n <= 4094 {
		return nil
	}
	return &Finding{Warning, "", "not a VLAN: Zero-OS reads 1 to 4094, none or untagged"}
}

func number(v string, _ Target) *Finding {
	if _, err := strconv.Atoi(v); err == nil {
		return nil
	}
	return &Finding{Warning, "", "not a number"}
}

func webSocket(v string, _ Target) *Finding {
	for u := range strings.SplitSeq(v, ",") {
		if !strings.HasPrefix(u, "wss://") && !strings.HasPrefix(u, "ws://") {
			return &Finding{Warning, "", "not a WebSocket address (wss://…)"}
		}
	}
	return nil
}

// Warnings returns what is probably a mistake in the kernel command line of t, one line
// each.
func (c Composer) Warnings(t Target) (warnings []string) {
	for _, f := range c.Check(t).Findings {
		if f.Severity == Warning {
			warnings = append(warnings, f.String())
		}
	}
	return warnings
}

// CheckNode is [Composer.Check] of a registered node whatever its run mode, as an error: nil, or an
// [provisioning.Error] for what would be refused.
func (c Composer) CheckNode(n provisioning.Node) error {
	_, err := c.line(NodeTarget(n))
	return err
}

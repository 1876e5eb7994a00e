package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // some nodes, or at some time, or not to the full
	Problem Level = "problem" // would stop a node from booting
)

// Finding is what one check came to, in plain sentences.
type Finding struct {
	Check string `json:"check"` // what was looked at, one word
	Level Level  `json:"level"`
	What  string `json:"what"`           // what is so
	Why   string `json:"why,omitempty"`  // why that stops a node
	Mend  string `json:"mend,omitempty"` // what to do about it
}

// Report is all findings, in the order in which a boot meets them.
type Report struct {
	OK       bool      `json:"ok"` // nothing would stop a node
	Findings []Finding `json:"findings"`
}

// Examine puts facts through all checks.
func Examine(f Facts) Report {
	r := Report{OK: true}
	for _, check := range checks {
		for _, finding := range check.look(f) {
			finding.Check = check.name
			r.OK = r.OK && finding.Level != Problem
			r.Findings = append(r.Findings, finding)
		}
	}
	return r
}

// check is one thing to look at.
type check struct {
	name string
	look func(Facts) []Finding
}

// checks are all that there are, in the order in which a boot meets them.
var checks = []check{
	{"interface", checkInterfaces},
	{"daemon", checkDaemon},
	{"ports", checkPorts},
	{"dhcp", checkDHCP},
	{"pxe", checkOtherServers},
	{"firmware", checkFirmware},
	{"firewall", checkFirewall},
	{"tftp", checkTFTP},
	{"http", checkHTTP},
	{"template", checkTemplate},
	{"secure-boot", checkSecureBoot},
	{"kernels", checkKernels},
	{"database", checkDatabase},
	{"state", checkState},
	{"base-host", checkBaseHost},
	{"certificate", checkCertificate},
	{"clock", checkClock},
	{"neighbours", checkNeighbours},
}

// ok, warn and stop make findings.
func ok(format string, args ...any) Finding {
	return Finding{Level: OK, What: fmt.Sprintf(format, args...)}
}

func warn(what, why, mend string) Finding {
	return Finding{Level: Warning, What: what, Why: why, Mend: mend}
}

func stop(what, why, mend string) Finding {
	return Finding{Level: Problem, What: what, Why: why, Mend: mend}
}

// WriteTo writes the report for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	problems, warnings := 0, 0
	for _, f := range r.Findings {
		mark := "ok"
		switch f.Level {
		case Problem:
			mark = "PROBLEM"
			problems++
		case Warning:
			mark = "warning"
			warnings++
		}
		fmt.Fprintf(&b, "%-8s %-12s %s\n", mark, f.Check, f.What)
		if f.Why != "" {
			fmt.Fprintf(&b, "%22swhy: %s\n", "", f.Why)
		}
		if f.Mend != "" {
			fmt.Fprintf(&b, "%22smend: %s\n", "", f.Mend)
		}
	}
	b.WriteString("\n" + verdict(problems, warnings) + "\n")
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func verdict(problems, warnings int) string {
	switch {
	case problems == 1:
		return "1 problem would stop nodes from booting."
	case problems > 1:
		return fmt.Sprintf("%d problems would stop nodes from booting.", problems)
	case warnings > 0:
		return "Nodes can boot; read the warnings."
	}
	return "Nothing would stop a node from booting."
}

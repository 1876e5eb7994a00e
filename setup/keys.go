package setup

import (
	"fmt"
	"slices"
	"strings"

	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/provisioning/typo"
)

// key is one key of appliance.toml: how its value gets into a Config. set checks
// the value and returns what is accepted if it is not that.
type key struct {
	name string // dotted
	set  func(value any) error
}

// keys lists every key that there is, in the order of appliance.toml. A new key
// is a row here, a field with its default in config.go, and a line there.
func (c *Config) keys() []key {
	return []key{
		{"base-host", baseURL(&c.BaseHost)},
		{"state", path(&c.State)},
		{"debug", boolean(&c.Debug)},
		{"log-format", oneOf(&c.LogFormat, "text", "json")},
		{"network.interface", interfaces(&c.Network.Interfaces)},
		{"network.address", network(&c.Network.Address)},
		{"dhcp.enabled", boolean(&c.DHCP.Enabled)},
		{"dhcp.port", port(&c.DHCP.Port)},
		{"dhcp.boot-server-port", port(&c.DHCP.BootServerPort)},
		{"tftp.enabled", boolean(&c.TFTP.Enabled)},
		{"tftp.port", port(&c.TFTP.Port)},
		{"tftp.max-block-size", blockSize(&c.TFTP.MaxBlockSize)},
		{"http.port", port(&c.HTTP.Port)},
		{"http.tls-port", port(&c.HTTP.TLSPort)},
		{"http.tls-cert", optional(&c.HTTP.TLSCert, path)},
		{"http.tls-key", optional(&c.HTTP.TLSKey, path)},
		{"kernel.path", path(&c.Kernel.Path)},
		{"kernel.net-path", path(&c.Kernel.NetPath)},
		{"ipxe.template", path(&c.IPXE.Template)},
		{"ipxe.autoexec", boolean(&c.IPXE.Autoexec)},
		{"provisioning.database", database(&c.Provisioning.Database)},
		{"provisioning.unknown", oneOf(&c.Provisioning.Unknown, provisioning.Boot, provisioning.Hold, provisioning.Exit, provisioning.Ignore)},
		{"provisioning.runmode", text(&c.Provisioning.RunMode)},
		{"provisioning.farmer", farmer(&c.Provisioning.Farmer)},
		{"provisioning.args", arguments(&c.Provisioning.Args, ipxe.CheckArgs)},
		{"boot.kernel-args", arguments(&c.Boot.KernelArgs, ipxe.CheckKernelArgs)},
		{"boot.ntp", optional(&c.Boot.NTP, host)},
		{"alerts.urls", alertURLs(&c.Alerts)},
	}
}

// runModes is the one table whose keys the file chooses.
const runModes = "runmodes"

// find returns the key with that name.
func (c *Config) find(name string, keys []key) (key, bool) {
	if keyword, ok := strings.CutPrefix(name, runModes+"."); ok {
		return key{name, runMode(c.RunModes, keyword)}, true
	}
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// set puts the settings into c and returns what is wrong with each by itself.
func (c *Config) set(found []setting) (mistakes Mistakes) {
	keys := c.keys()
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	tables := tablesOf(names)
	for _, s := range found {
		if s.table {
			switch {
			case slices.Contains(names, s.key):
				mistakes = append(mistakes, s.mistake(fmt.Sprintf("%s is a key, not a table: write %s = …", s.key, s.key)))
			case !slices.Contains(tables, s.key):
				mistakes = append(mistakes, s.mistake(unknown("table", s.key, tables)))
			}
			continue
		}
		if parent, _, ok := cutLast(s.key); ok && !slices.Contains(tables, parent) && headed(found, parent) {
			continue // its heading is the mistake
		}
		k, ok := c.find(s.key, keys)
		if !ok {
			message := unknown("key", s.key, names)
			if slices.Contains(tables, s.key) {
				message = fmt.Sprintf("%s is a table: write its keys below a line [%s]", s.key, s.key)
			}
			mistakes = append(mistakes, s.mistake(message))
			continue
		}
		if err := k.set(s.value); err != nil {
			mistakes = append(mistakes, s.mistake(fmt.Sprintf("%s: %v", s.key, err)))
		}
	}
	return mistakes
}

// contradictions returns the mistakes that two keys make together.
func (c *Config) contradictions(found []setting) (mistakes Mistakes) {
	// The place is that of the first of the keys that the file has.
	contradict := func(format string, args []any, keys ...string) {
		var at setting
		for _, k := range slices.Backward(keys) {
			if i := slices.IndexFunc(found, func(s setting) bool { return s.key == k }); i >= 0 {
				at = found[i]
			}
		}
		mistakes = append(mistakes, at.mistake(keys[0]+": "+fmt.Sprintf(format, args...)))
	}
	switch {
	case c.HTTP.TLSCert != "" && c.HTTP.TLSKey == "":
		contradict("a certificate needs its private key: set http.tls-key too", nil, "http.tls-cert")
	case c.HTTP.TLSCert == "" && c.HTTP.TLSKey != "":
		contradict("a private key needs its certificate: set http.tls-cert too", nil, "http.tls-key")
	}
	p := c.Provisioning
	key, other := "provisioning.args", "boot.kernel-args"
	if p.Args == "" {
		key, other = other, key
	}
	if err := c.RunModes.Check(p.RunMode); err != nil {
		contradict("%v", []any{err}, "provisioning.runmode")
	} else if _, err := c.Composer().Cmdline(ipxe.Target{RunMode: p.RunMode, Farmer: p.Farmer, Args: p.Args}); err != nil {
		contradict("%v (boot.kernel-args, run mode, farmer and provisioning.args together)", []any{err}, key, other)
	}
	if socket := c.Socket(); len(socket) > maxSocket {
		contradict("the path of the admin socket in it, %s, has %d bytes: at most %d are accepted", []any{socket, len(socket), maxSocket}, "state")
	}
	listeners := []struct {
		key, protocol string
		open          bool
		port          uint16
	}{
		{"dhcp.port", "UDP", c.DHCP.Enabled, c.DHCP.Port},
		{"dhcp.boot-server-port", "UDP", c.DHCP.Enabled, c.DHCP.BootServerPort},
		{"tftp.port", "UDP", c.TFTP.Enabled, c.TFTP.Port},
		{"http.port", "TCP", true, c.HTTP.Port},
		{"http.tls-port", "TCP", true, c.HTTP.TLSPort},
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.open && b.open && a.port == b.port && a.protocol == b.protocol {
				contradict("%s port %d is also that of %s: each needs its own", []any{a.protocol, a.port, b.key}, a.key, b.key)
			}
		}
	}
	return mistakes
}

// unknown says that there is no such key or table, and which one may be meant.
func unknown(what, name string, known []string) string {
	message := fmt.Sprintf("unknown %s %s", what, name)
	if near := nearest(name, known); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	} else if what == "table" {
		message += "; there are " + strings.Join(known, ", ")
	}
	return message
}

// tablesOf returns the tables that those keys are in, and [runmodes].
func tablesOf(names []string) []string {
	var tables []string
	for _, name := range names {
		if table, _, ok := cutLast(name); ok && !slices.Contains(tables, table) {
			tables = append(tables, table)
		}
	}
	return append(tables, runModes)
}

// headed tells whether the file has that table's heading.
func headed(found []setting, table string) bool {
	return slices.ContainsFunc(found, func(s setting) bool { return s.table && s.key == table })
}

// cutLast splits a dotted key before its last part.
func cutLast(name string) (before, last string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// nearest returns the known name that was probably meant, or "": one that differs
// by few letters, or the only one with the same last part in another table.
func nearest(name string, known []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, k := range known {
		if d := typo.Distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return best
	}
	_, last, _ := cutLast(name)
	var same []string
	for _, k := range known {
		if _, l, _ := cutLast(k); typo.Distance(last, l) <= len(last)/6 {
			same = append(same, k)
		}
	}
	if len(same) == 1 {
		return same[0]
	}
	return ""
}

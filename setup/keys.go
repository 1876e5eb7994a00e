package setup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/typo"
)

// key is one key of appliance.toml: where its value is in a Config, and how it gets
// there. set checks the value and returns what is accepted if it is not that.
type key struct {
	name  string // dotted
	value any    // pointer
	set   func(value any) error
}

// keys lists every key that there is, in the order of appliance.toml. A new key
// is a row here, a field with its default in config.go, and a line there.
func (c *Config) keys() []key {
	return []key{
		{"base-host", &c.BaseHost, baseURL(&c.BaseHost)},
		{"state", &c.State, path(&c.State)},
		{"debug", &c.Debug, boolean(&c.Debug)},
		{"log-format", &c.LogFormat, oneOf(&c.LogFormat, "text", "json")},
		{"network.interface", &c.Network.Interfaces, interfaces(&c.Network.Interfaces)},
		{"network.address", &c.Network.Address, network(&c.Network.Address)},
		{"dhcp.enabled", &c.DHCP.Enabled, boolean(&c.DHCP.Enabled)},
		{"dhcp.port", &c.DHCP.Port, port(&c.DHCP.Port)},
		{"dhcp.boot-server-port", &c.DHCP.BootServerPort, port(&c.DHCP.BootServerPort)},
		{"tftp.enabled", &c.TFTP.Enabled, boolean(&c.TFTP.Enabled)},
		{"tftp.port", &c.TFTP.Port, port(&c.TFTP.Port)},
		{"tftp.max-block-size", &c.TFTP.MaxBlockSize, blockSize(&c.TFTP.MaxBlockSize)},
		{"http.port", &c.HTTP.Port, port(&c.HTTP.Port)},
		{"http.tls-port", &c.HTTP.TLSPort, port(&c.HTTP.TLSPort)},
		{"http.tls-cert", &c.HTTP.TLSCert, optional(&c.HTTP.TLSCert, path)},
		{"http.tls-key", &c.HTTP.TLSKey, optional(&c.HTTP.TLSKey, path)},
		{"kernel.path", &c.Kernel.Path, path(&c.Kernel.Path)},
		{"kernel.net-path", &c.Kernel.NetPath, path(&c.Kernel.NetPath)},
		{"kernel.upstream", &c.Kernel.Upstream, optional(&c.Kernel.Upstream, checked(func(s string) error { _, err := upstream.CheckBase(s); return err }))},
		{"kernel.refresh", &c.Kernel.Refresh, duration(&c.Kernel.Refresh, time.Second)},
		{"kernel.keep", &c.Kernel.Keep, number(&c.Kernel.Keep, 0, 1000, "a whole number of kernels from 0 to 1000")},
		{"kernel.trust", &c.Kernel.Trust, optional(&c.Kernel.Trust, checked(func(s string) error { _, err := upstream.CheckTrust(s); return err }))},
		{"secure-boot.enabled", &c.SecureBoot.Enabled, boolean(&c.SecureBoot.Enabled)},
		{"ipxe.template", &c.IPXE.Template, path(&c.IPXE.Template)},
		{"ipxe.autoexec", &c.IPXE.Autoexec, boolean(&c.IPXE.Autoexec)},
		{"provisioning.database", &c.Provisioning.Database, database(&c.Provisioning.Database)},
		{"provisioning.unknown", &c.Provisioning.Unknown, oneOf(&c.Provisioning.Unknown, provisioning.Boot, provisioning.Hold, provisioning.Exit, provisioning.Ignore)},
		{"provisioning.runmode", &c.Provisioning.RunMode, text(&c.Provisioning.RunMode)},
		{"provisioning.farmer", &c.Provisioning.Farmer, farmer(&c.Provisioning.Farmer)},
		{"provisioning.args", &c.Provisioning.Args, arguments(&c.Provisioning.Args, ipxe.CheckArgs)},
		{"boot.kernel-args", &c.Boot.KernelArgs, arguments(&c.Boot.KernelArgs, ipxe.CheckKernelArgs)},
		{"boot.ntp", &c.Boot.NTP, optional(&c.Boot.NTP, host)},
		{"openid.issuer", &c.OpenID.Issuer, optional(&c.OpenID.Issuer, issuer)},
		{"openid.client-id", &c.OpenID.ClientID, text(&c.OpenID.ClientID)},
		{"openid.client-secret-file", &c.OpenID.ClientSecretFile, optional(&c.OpenID.ClientSecretFile, path)},
		{"openid.claim", &c.OpenID.Claim, checked(func(s string) error {
			if s == "" {
				return refuse(`the name of a claim, as "groups"`, s)
			}
			return nil
		})(&c.OpenID.Claim)},
		{"openid.admins", &c.OpenID.Admins, words(&c.OpenID.Admins)},
		{"openid.readers", &c.OpenID.Readers, words(&c.OpenID.Readers)},
		{"openid.farmer-prefix", &c.OpenID.FarmerPrefix, text(&c.OpenID.FarmerPrefix)},
		{"alerts.urls", &c.Alerts, alertURLs(&c.Alerts)},
	}
}

// runModes is the one table whose keys the file chooses.
const runModes = "runmodes"

// find returns the key with that name.
func (c *Config) find(name string, keys []key) (key, bool) {
	if keyword, ok := strings.CutPrefix(name, runModes+"."); ok {
		return key{name: name, set: runMode(c.RunModes, keyword)}, true
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
	if o := c.OpenID; o.Issuer != "" {
		if o.ClientID == "" {
			contradict("a provider knows us by a client id: set openid.client-id too", nil, "openid.issuer")
		}
		if len(o.Admins)+len(o.Readers) == 0 && o.FarmerPrefix == "" {
			contradict("nobody could sign in: set openid.admins, openid.readers or openid.farmer-prefix too", nil, "openid.issuer")
		}
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

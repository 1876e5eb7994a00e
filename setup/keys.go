package setup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/typo"
)

// key is one key of appliance.toml: where its value is in a Config, and how it gets there.
type key struct {
	name  string // dotted
	value any    // pointer
	set   func(value any) error
}

// at returns the key whose value read makes and dst holds.
func at[T any](name string, dst *T, read reader[T]) key {
	return key{name, dst, func(v any) error {
		x, err := read(v)
		if err == nil {
			*dst = x
		}
		return err
	}}
}

// keys lists every key that there is, in the order of appliance.toml. A new key
// is a row here, a field with its default in config.go, and a line there.
func (c *Config) keys() []key {
	return []key{
		at("base-host", &c.BaseHost, optional(baseURL)),
		at("state", &c.State, path),
		at("debug", &c.Debug, boolean),
		at("log-format", &c.LogFormat, oneOf("text", "json")),
		at("network.interface", &c.Network.Interfaces, optional(interfaces)),
		at("network.address", &c.Network.Address, optional(network)),
		at("dhcp.enabled", &c.DHCP.Enabled, boolean),
		at("dhcp.port", &c.DHCP.Port, port),
		at("dhcp.boot-server-port", &c.DHCP.BootServerPort, port),
		at("tftp.enabled", &c.TFTP.Enabled, boolean),
		at("tftp.port", &c.TFTP.Port, port),
		// RFC 2348 allows 8 to 65464; every client knows 512 (RFC 1350).
		at("tftp.max-block-size", &c.TFTP.MaxBlockSize, number[int](512, 65464, "a whole number of bytes from 512 to 65464, at most the LAN's MTU less 32 (1428 suits every LAN)")),
		at("http.port", &c.HTTP.Port, port),
		at("http.tls-port", &c.HTTP.TLSPort, port),
		at("http.tls-cert", &c.HTTP.TLSCert, optional(path)),
		at("http.tls-key", &c.HTTP.TLSKey, optional(path)),
		at("kernel.path", &c.Kernel.Path, path),
		at("kernel.net-path", &c.Kernel.NetPath, path),
		at("kernel.upstream", &c.Kernel.Upstream, optional(parsing(func(s string) (string, error) { _, err := upstream.CheckBase(s); return s, err }))),
		at("kernel.refresh", &c.Kernel.Refresh, duration(time.Second)),
		at("kernel.keep", &c.Kernel.Keep, number[int](0, 1000, "a whole number of kernels from 0 to 1000")),
		at("kernel.trust", &c.Kernel.Trust, parsing(func(s string) (string, error) { _, err := upstream.CheckTrust(s); return s, err })),
		at("secure-boot.enabled", &c.SecureBoot.Enabled, boolean),
		at("ipxe.template", &c.IPXE.Template, path),
		at("ipxe.autoexec", &c.IPXE.Autoexec, boolean),
		at("provisioning.database", &c.Provisioning.Database, database),
		at("provisioning.unknown", &c.Provisioning.Unknown, oneOf(provisioning.Boot, provisioning.Hold, provisioning.Exit, provisioning.Ignore)),
		at("provisioning.runmode", (*string)(&c.Provisioning.RunMode), text),
		at("provisioning.farmer", &c.Provisioning.Farmer, number[provisioning.FarmerID](0, 1<<32-1, "a farmer id, a whole number from 1 to 4294967295, or 0 for none")),
		at("provisioning.args", &c.Provisioning.Args, arguments(ipxe.CheckArgs)),
		at("boot.kernel-args", &c.Boot.KernelArgs, arguments(ipxe.CheckKernelArgs)),
		at("boot.ntp", &c.Boot.NTP, optional(matching(isHost, "a host name or an IP address"))),
		at("openid.issuer", &c.OpenID.Issuer, optional(matching(isIssuer, "the https:// URL of an OpenID provider, as it names itself, without query or fragment"))),
		at("openid.client-id", &c.OpenID.ClientID, text),
		at("openid.client-secret-file", &c.OpenID.ClientSecretFile, optional(path)),
		at("openid.claim", &c.OpenID.Claim, nonempty(`the name of a claim, as "groups"`)),
		at("openid.admins", &c.OpenID.Admins, groups),
		at("openid.readers", &c.OpenID.Readers, groups),
		at("openid.farmer-prefix", &c.OpenID.FarmerPrefix, text),
		at("alerts.urls", &c.Alerts, alertURLs),
	}
}

// runModes is the one table whose keys the file chooses.
const runModes = "runmodes"

// setRunMode gives a run mode its name for people.
func (c *Config) setRunMode(mode string, v any) error {
	name, err := nonempty("a name for people")(v)
	if !keyword.MatchString(mode) {
		err = errors.New("bad run mode: accepted is a keyword of 1 to 32 lower-case letters, digits and hyphens")
	}
	if err == nil {
		c.RunModes[provisioning.RunMode(mode)] = name
	}
	return err
}

// set puts the settings into c and returns what is wrong with each by itself.
func (c *Config) set(found []setting) (mistakes Mistakes) {
	keys := c.keys()
	var names, tables []string
	for _, k := range keys {
		names = append(names, k.name)
		if t := parent(k.name); t != "" && !slices.Contains(tables, t) {
			tables = append(tables, t)
		}
	}
	tables = append(tables, runModes)
	wrong := map[string]bool{} // headings
	var bad []string
	for _, s := range found {
		before := len(mistakes)
		i := slices.Index(names, s.key)
		mode, isMode := strings.CutPrefix(s.key, runModes+".")
		var err error
		switch known := slices.Contains(tables, s.key); {
		case s.table && i >= 0:
			mistakes = append(mistakes, s.mistake("%s is a key, not a table: write %[1]s = …", s.key))
			wrong[s.key] = true
		case s.table && !known:
			mistakes = append(mistakes, s.mistake("unknown table %s", s.key+meant(s.key, tables, "; there are "+strings.Join(tables, ", "))))
			wrong[s.key] = true
		case s.table, wrong[parent(s.key)]: // its heading is the mistake
		case isMode:
			err = s.into(func(v any) error { return c.setRunMode(mode, v) })
		case known:
			mistakes = append(mistakes, s.mistake("%s is a table: write its keys below a line [%[1]s]", s.key))
		case i < 0:
			mistakes = append(mistakes, s.mistake("unknown key %s", s.key+meant(s.key, names, "")))
			if u, ok := s.value.(unread); ok && u.why != "" {
				err = errors.New(u.why)
			}
		default:
			err = s.into(keys[i].set)
		}
		if a, ok := err.(accepted); ok {
			err = fmt.Errorf("%w; found %s", a, show(s.value))
		}
		if err != nil {
			mistakes = append(mistakes, s.mistake("%s: %v", s.key, err))
		}
		if len(mistakes) > before {
			bad = append(bad, s.key)
		}
	}
	c.StateInDoubt = stateInDoubt(found, bad, slices.Concat(names, tables))
	return mistakes
}

// stateInDoubt tells whether a key may have been meant to be state that is not: it has a value
// that is bad, or stands in a table, or is not known where there is no good one.
func stateInDoubt(found []setting, bad, known []string) bool {
	given := slices.ContainsFunc(found, func(s setting) bool { return s.key == "state" }) && !slices.Contains(bad, "state")
	return slices.ContainsFunc(found, func(s setting) bool {
		switch table, name := parent(s.key), s.key[strings.LastIndexByte(s.key, '.')+1:]; {
		case table == runModes:
			return false
		case name == "state":
			return table != "" || !given
		default:
			return table == "" && !s.table && !given && !slices.Contains(known, s.key)
		}
	})
}

// into gives the value to set. One with an error of notation is given as text, so that it
// says what it accepts; it is refused even if it accepts that.
func (s setting) into(set func(value any) error) error {
	u, ok := s.value.(unread)
	switch {
	case !ok:
		return set(s.value)
	case u.why != "":
		return errors.New(u.why)
	}
	if err := set(u.text); err != nil {
		return err
	}
	quote := `"`
	if strings.ContainsAny(u.text, `"\`) {
		quote = "'"
	}
	return fmt.Errorf("text stands in quotes: write %s = %s%s%[2]s", s.key[strings.LastIndexByte(s.key, '.')+1:], quote, u.text)
}

// contradictions returns the mistakes that two keys make together, as far as both could be
// read.
func (c *Config) contradictions(found []setting) (mistakes Mistakes) {
	// The place is that of the first of the keys that the file has.
	contradict := func(message string, keys ...string) {
		if slices.ContainsFunc(found, func(s setting) bool {
			_, bad := s.value.(unread)
			return bad && (slices.Contains(keys, s.key) || slices.Contains(keys, parent(s.key)))
		}) {
			return
		}
		var at setting
		for _, k := range slices.Backward(keys) {
			if i := slices.IndexFunc(found, func(s setting) bool { return s.key == k }); i >= 0 {
				at = found[i]
			}
		}
		mistakes = append(mistakes, at.mistake("%s: %s", keys[0], message))
	}
	o, p, socket := c.OpenID, c.Provisioning, c.Socket()
	if c.HTTP.TLSCert != "" && c.HTTP.TLSKey == "" {
		contradict("a certificate needs its private key: set http.tls-key too", "http.tls-cert", "http.tls-key")
	}
	if c.HTTP.TLSCert == "" && c.HTTP.TLSKey != "" {
		contradict("a private key needs its certificate: set http.tls-cert too", "http.tls-key", "http.tls-cert")
	}
	if o.Issuer != "" && o.ClientID == "" {
		contradict("a provider knows us by a client id: set openid.client-id too", "openid.issuer", "openid.client-id")
	}
	if o.Issuer != "" && len(o.Admins)+len(o.Readers) == 0 && o.FarmerPrefix == "" {
		contradict("nobody could sign in: set openid.admins, openid.readers or openid.farmer-prefix too", "openid.issuer", "openid.admins", "openid.readers", "openid.farmer-prefix")
	}
	key, other := "provisioning.args", "boot.kernel-args"
	if p.Args == "" {
		key, other = other, key
	}
	if err := c.RunModes.Check(p.RunMode); err != nil {
		contradict(err.Error(), "provisioning.runmode", runModes)
	} else if _, err := c.Composer().Cmdline(ipxe.Target{RunMode: p.RunMode, Farmer: p.Farmer, Args: p.Args}); err != nil {
		contradict(err.Error()+" (boot.kernel-args, run mode, farmer and provisioning.args together)", key, other, "provisioning.farmer")
	}
	if len(socket) > maxSocket {
		contradict(fmt.Sprintf("the path of the admin socket in it, %s, has %d bytes: at most %d are accepted", socket, len(socket), maxSocket), "state")
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
				contradict(fmt.Sprintf("%s port %d is also that of %s: each needs its own", a.protocol, a.port, b.key), a.key, b.key, parent(a.key)+".enabled", parent(b.key)+".enabled")
			}
		}
	}
	return mistakes
}

// meant asks for the known name that was probably meant: one that differs by few letters,
// or the only one with the same last part in another table. It returns none if there is
// no such name.
func meant(name string, known []string, none string) string {
	last := func(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
	best := typo.Nearest(name, known)
	var same []string
	for _, k := range known {
		if typo.Distance(last(name), last(k)) <= len(last(name))/6 {
			same = append(same, k)
		}
	}
	if best == "" && len(same) == 1 {
		best = same[0]
	}
	if best == "" {
		return none
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// parent returns the table that a key is in, "" for none.
func parent(name string) string { return name[:max(strings.LastIndexByte(name, '.'), 0)] }

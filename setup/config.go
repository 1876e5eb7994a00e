package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/provisioning/ordinary"
)

// Config is appliance.toml, read and checked. Paths are absolute.
type Config struct {
	File string // the file that was read, absolute; "": none, all defaults

	// StateInDoubt: by a mistake in the file State may be another folder than the one that is
	// meant, and so may all that is relative to it.
	StateInDoubt bool `json:"-"`

	BaseHost *url.URL // scheme and host, nothing else; nil: the LAN interface's address
	State    string   // folder of everything that we write
	Debug    bool

	LogFormat string // "text" or "json"

	Network      Network
	DHCP         DHCP
	TFTP         TFTP
	HTTP         HTTP
	Kernel       Kernel
	SecureBoot   SecureBoot
	IPXE         IPXE
	Provisioning Provisioning
	Boot         Boot
	OpenID       OpenID
	Alerts       []string // URLs that alert.Check takes: where to tell what needs a person
	RunModes     provisioning.RunModes
}

// Network is the table [network].
type Network struct {
	Interfaces []string // empty: the interface with the default route

	// Address is the network that nodes are told an address of, or one address with
	// all its bits, where an interface has several; the zero Prefix: the LAN decides.
	Address netip.Prefix
}

// DHCP is the table [dhcp].
type DHCP struct {
	Enabled        bool
	Port           uint16
	BootServerPort uint16
}

// TFTP is the table [tftp].
type TFTP struct {
	Enabled      bool
	Port         uint16
	MaxBlockSize int // bytes of data in a block (RFC 2348)
}

// HTTP is the table [http].
type HTTP struct {
	Port    uint16
	TLSPort uint16
	TLSCert string // PEM file; "": our own certificate authority
	TLSKey  string // PEM file; "" exactly when TLSCert is
}

// Kernel is the table [kernel].
type Kernel struct {
	Path    string
	NetPath string

	Upstream string        // URL of a service that kernels are taken from; "": none
	Refresh  time.Duration // how often
	Keep     int           // how many former kernels a run mode keeps
	Trust    string        // minisign public key that each must be signed by; "": none
}

// SecureBoot is the table [secure-boot].
type SecureBoot struct {
	Enabled bool // x64 UEFI machines get the signed chain
}

// IPXE is the table [ipxe].
type IPXE struct {
	Template string
	Autoexec bool // hand out EFI binaries untouched, with autoexec.ipxe beside them
}

// Provisioning is the table [provisioning].
type Provisioning struct {
	Database string // path of a SQLite file, or a postgres:// URL
	Unknown  provisioning.Policy
	RunMode  provisioning.RunMode
	Farmer   provisioning.FarmerID // 0: none
	Args     string
}

// Boot is the table [boot].
type Boot struct {
	KernelArgs string
	NTP        string // host name or address; "": none
}

// OpenID is the table [openid]: who may sign in to the board with an OpenID provider.
type OpenID struct {
	Issuer           string   // https URL; "": there is none
	ClientID         string   // what the provider calls us
	ClientSecretFile string   // "": there is no secret
	Claim            string   // what of the provider's answer holds somebody's groups
	Admins           []string // groups of admins
	Readers          []string // groups of those who see all and change nothing
	FarmerPrefix     string   // members of PREFIX1234 are farmer 1234; "": there are none
}

// DefaultFile is what the command line reads when --config is not given, if it
// exists in the working folder, else [SystemFile] if that exists, else nothing.
const DefaultFile = "appliance.toml"

// SystemFile is where a package of the distribution puts the configuration.
const SystemFile = "/etc/farmboot/appliance.toml"

// Default returns the configuration of an empty file.
func Default() Config {
	c := unresolved()
	c.resolve("/")
	return c
}

// unresolved is Default with paths as they stand in appliance.toml.
func unresolved() Config {
	return Config{
		State: "/var/lib/farmboot", LogFormat: "text",
		DHCP: DHCP{Enabled: true, Port: 67, BootServerPort: 4011},
		// 1428 leaves room for the headers of IP, UDP and TFTP, and of a tunnel, in
		// an Ethernet frame.
		TFTP:   TFTP{Enabled: true, Port: 69, MaxBlockSize: 1428},
		HTTP:   HTTP{Port: 80, TLSPort: 443},
		Kernel: Kernel{Path: "kernel", NetPath: "kernel/net", Refresh: 6 * time.Hour, Keep: 3},
		IPXE:   IPXE{Template: "/opt/ipxe-template"},
		Provisioning: Provisioning{
			Database: "provisioning.db",
			Unknown:  provisioning.Boot,
			RunMode:  "prod",
		},
		OpenID: OpenID{Claim: "groups"},
		Boot:   Boot{KernelArgs: "nomodeset version=v3 panic=7200", NTP: "pool.ntp.org"},
		RunModes: provisioning.RunModes{
			"prod": "Production",
			"test": "Testing",
			"dev":  "Development",
			"qa":   "Quality assurance",
		},
	}
}

// Load reads the configuration: that of file, which must exist; or, when file is
// "", that of [DefaultFile] or [SystemFile], the first that exists, or else the
// defaults. Errors in the file are [Mistakes], all of them; what could be read is returned with
// them.
func Load(file string) (Config, error) {
	if file != "" {
		return load(file)
	}
	for _, f := range []string{DefaultFile, SystemFile} {
		c, err := load(f)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return Default(), nil
}

func load(file string) (Config, error) {
	doc, err := read(file)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return Config{}, fmt.Errorf("find configuration %s: %w", file, err)
	}
	c, mistakes := Parse(doc, filepath.Dir(abs))
	c.File = abs
	if len(mistakes) > 0 {
		for i := range mistakes {
			mistakes[i].File = file
		}
		return c, mistakes
	}
	return c, nil
}

// longest is how long a configuration file may be, in bytes.
const longest = 1 << 20

func read(file string) ([]byte, error) {
	f, err := ordinary.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(doc) > longest {
		err = fmt.Errorf("%s is longer than %d bytes: is it the right file?", file, longest)
	}
	return doc, err
}

// Parse reads and checks the text of a configuration file that lies in folder
// dir, an absolute path. The Config is good only if there are no mistakes.
func Parse(doc []byte, dir string) (Config, Mistakes) {
	found, mistakes, lost := settings(doc)
	c := unresolved()
	mistakes = append(mistakes, c.set(found)...)
	c.StateInDoubt = c.StateInDoubt || lost
	c.resolve(dir)
	if !lost {
		mistakes = append(mistakes, c.contradictions(found)...)
	}
	slices.SortStableFunc(mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c, mistakes
}

// resolve makes relative paths absolute; dir is the folder of the file.
func (c *Config) resolve(dir string) {
	under := func(folder string, path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	under(dir, &c.State)
	for _, p := range []*string{&c.Kernel.Path, &c.Kernel.NetPath, &c.IPXE.Template, &c.HTTP.TLSCert, &c.HTTP.TLSKey, &c.OpenID.ClientSecretFile} {
		under(c.State, p)
	}
	if !c.Provisioning.Postgres() {
		under(c.State, &c.Provisioning.Database)
	}
}

// Composer returns what writes the kernel command lines of this configuration.
func (c Config) Composer() ipxe.Composer {
	return ipxe.Composer{KernelArgs: c.Boot.KernelArgs, RunModes: c.RunModes}
}

// Warnings returns what is probably a mistake in what a registered node boots, one line
// each.
func (c Config) Warnings(n provisioning.Node) []string {
	warnings := c.Composer().Warnings(ipxe.NodeTarget(n))
	switch n.NBP {
	case provisioning.Plain, provisioning.Signed, provisioning.SignedSNPOnly:
		if !c.SecureBoot.Enabled {
			warnings = append(warnings, fmt.Sprintf("the network boot program %s is a choice for Secure Boot, which is off ([secure-boot] enabled): the node gets one that is not signed", n.NBP))
		}
	}
	return warnings
}

// SecureBootDir returns the folder of all that belongs to Secure Boot: the key, signed
// kernels, which nodes trust it.
func (c Config) SecureBootDir() string { return filepath.Join(c.State, "secure-boot") }

// maxSocket is how many bytes the path of a Unix socket may have (unix(7), sun_path,
// less the zero byte at its end).
const maxSocket = 107

// Socket returns the path of the admin socket.
func (c Config) Socket() string { return filepath.Join(c.State, "farmboot.sock") }

// Postgres tells whether the database is a PostgreSQL URL, not a SQLite file.
func (p Provisioning) Postgres() bool {
	return strings.HasPrefix(p.Database, "postgres://") || strings.HasPrefix(p.Database, "postgresql://")
}

package doctor

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup"
	"farmboot/setup/ca"
	"farmboot/setup/doctor/firewall"
)

// answerLimit is how long an answer of this host, or of its DNS, may take.
const answerLimit = 3 * time.Second

// Gather collects the facts: within seconds where all is well, within a minute where no
// DHCP server answers. It sends DHCP requests on the LANs, as machines that boot there
// would, but takes no address. store has the kernels, and asks their upstream, if there is
// one; inUse reads the database; look is told what is looked at now.
func Gather(ctx context.Context, c setup.Config, now time.Time, store *kernel.Store, inUse func(context.Context) (InUse, error), look func(what string)) Facts {
	f := Facts{Now: now, Config: c}
	look("looking at this host: firewall, daemon, ports")
	f.Interfaces, f.InterfacesErr = c.Interfaces()
	f.Own = ownAddresses()
	f.Firewall, f.FirewallErr = readFirewall(ctx)
	f.HTTP = reach(ctx, f.Interfaces, c.HTTP.Port, askHTTP)
	f.Running = running(ctx, c, f.HTTP)
	if f.Running {
		f.HTTPS = reach(ctx, f.Interfaces, c.HTTP.TLSPort, askTCP)
		if c.TFTP.Enabled {
			f.TFTP = reach(ctx, f.Interfaces, c.TFTP.Port, askTFTP)
		}
	} else {
		f.HTTP = nil
	}
	if f.Running && c.SecureBoot.Enabled {
		f.Chains, f.ChainErr = chains(ctx, c, f.Interfaces)
	}
	f.Ports = ports(ctx, c, f.Interfaces, f.Running)
	look("asking the LAN as machines do that boot, for 15 seconds to a minute")
	f.LANs = listen(ctx, c, f.Interfaces)
	look("looking at iPXE, kernels and the database")
	if _, f.TemplateErr = os.ReadDir(c.IPXE.Template); f.TemplateErr == nil {
		f.Template = binary.Load(c.IPXE.Template).Problems()
	}
	f.InUse, f.InUseErr = inUse(ctx)
	f.Kernels, f.Named, f.KernelErr = kernels(ctx, c, store, f.InUse.Kernels)
	f.UEFIOnly = uefiOnly(c, store, f.Kernels)
	f.StateFree, f.StateErr = state(c.State)
	f.Unreadable, f.Unwritable = closed(c.State, filepath.Base(c.Provisioning.Database))
	look("looking at names, certificates and the clock")
	if c.BaseHost != nil {
		f.BaseHost, f.BaseHostErr = resolve(ctx, c.BaseHost.Hostname())
		if f.BaseHostErr == nil && !slices.ContainsFunc(f.BaseHost, func(a netip.Addr) bool { return slices.Contains(f.Own, a) }) {
			f.BaseHostBad = askURL(ctx, c.BaseHost)
		}
	}
	f.Weaknesses, f.CertificateErr = ca.Inspect(filepath.Join(c.State, "ca"), c.HTTP.TLSCert, c.HTTP.TLSKey, now)
	f.CertificateNotFor = ca.NotFor(c.BaseHostname(), c.HTTP.TLSCert, c.HTTP.TLSKey)
	f.Unsynchronized = unsynchronized()
	f.Neighbours = sysctl("net/ipv4/neigh/default/gc_thresh3")
	return f
}

// running tells whether a farmboot of this configuration runs here: something answers on
// its admin socket, or where we may not ask there, on its port of the boot plane, or a
// program of that name has that port open.
func running(ctx context.Context, c setup.Config, http []Reach) bool {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if conn, err := d.DialContext(ctx, "unix", c.Socket()); err == nil {
		conn.Close()
		return true
	}
	for _, r := range http {
		if _, answered := errors.AsType[saysError](r.Err); r.Err == nil || answered {
			return true
		}
	}
	return slices.ContainsFunc(holders("/proc", "tcp", c.HTTP.Port), ours)
}

// ours tells whether a holder of a port is a farmboot.
func ours(h Holder) bool { return h.Name == "farmboot" }

func readFirewall(ctx context.Context) (firewall.Rules, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return firewall.Read(ctx)
}

// ownAddresses are those of all interfaces.
func ownAddresses() []netip.Addr {
	var own []netip.Addr
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own
}

// reach asks a service at our address on each LAN.
func reach(ctx context.Context, lans []setup.Interface, port uint16, ask func(context.Context, netip.AddrPort) error) []Reach {
	all := make([]Reach, len(lans))
	var asking sync.WaitGroup
	for n, i := range lans {
		all[n].Addr = netip.AddrPortFrom(i.Addr(), port)
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, answerLimit)
			defer cancel()
			all[n].Err = ask(ctx, all[n].Addr)
		})
	}
	asking.Wait()
	return all
}

func askHTTP(ctx context.Context, at netip.AddrPort) error {
	response, err := get(ctx, at, "/healthz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	line, _ := bufio.NewReader(io.LimitReader(response.Body, 500)).ReadString('\n')
	return saysError{response.Status, strings.TrimSpace(line)}
}

// get asks for what is at a path.
func get(ctx context.Context, at netip.AddrPort, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return nil, err
	}
	return new(http.Transport).RoundTrip(request)
}

// saysError is an answer of a program that is there, and not well.
type saysError struct{ status, line string }

func (e saysError) Error() string {
	if e.line == "" {
		return "it says " + e.status
	}
	return fmt.Sprintf("it says %s: %s", e.status, e.line)
}

func askTCP(ctx context.Context, at netip.AddrPort) error { return connect(ctx, at.String()) }

// connect opens a connection.
func connect(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// askURL connects to where a URL leads.
func askURL(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return connect(ctx, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), u.Scheme)))
}

// askTFTP asks for the size of a boot program and aborts, as clients do (RFC 2349).
func askTFTP(ctx context.Context, at netip.AddrPort) error {
	var d net.ListenConfig
	conn, err := d.ListenPacket(ctx, "udp4", ":0")
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.WriteTo([]byte("\x00\x01"+filenames.Undionly+"\x00octet\x00tsize\x000\x00"), net.UDPAddrFromAddrPort(at)); err != nil {
		return err
	}
	answer := make([]byte, 1024)
	n, from, err := conn.ReadFrom(answer)
	switch {
	case err != nil:
		return err
	case n >= 4 && answer[1] == 5: // ERROR
		return fmt.Errorf("it says %q", strings.TrimRight(string(answer[4:n]), "\x00"))
	}
	_, err = conn.WriteTo([]byte("\x00\x05\x00\x00done\x00"), from)
	return err
}

// kernels returns what is wrong with the default kernel of each run mode, and with those
// that nodes name. What upstream has is as good as here.
func kernels(ctx context.Context, c setup.Config, store *kernel.Store, used map[string]int) (modes, named map[string]error, err error) {
	if _, err := os.ReadDir(c.Kernel.NetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	check := func(wrong map[string]error, key, rel string) {
		all.Go(func() { // upstream may take its time
			err := store.Check(rel)
			if provisioning.ErrorCode(err) == provisioning.NotFound {
				err = store.Available(ctx, rel)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				wrong[key] = err
			}
		})
	}
	modes, named = make(map[string]error), make(map[string]error)
	for _, mode := range c.RunModes.Ordered() {
		check(modes, string(mode), kernel.DefaultOf(mode))
	}
	for name := range used {
		check(named, name, name)
	}
	all.Wait()
	return modes, named, nil
}

// uefiOnly lists the run modes whose default kernel is here and whole, and does not start on
// BIOS machines.
func uefiOnly(c setup.Config, store *kernel.Store, wrong map[string]error) (modes []string) {
	for _, mode := range c.RunModes.Keywords() {
		f, _, err := store.Open(kernel.DefaultOf(provisioning.RunMode(mode)))
		if err != nil {
			continue
		}
		if wrong[mode] == nil && !kernel.StartsOnBIOS(f) {
			modes = append(modes, mode)
		}
		_ = f.Close() // of a file that was read alone
	}
	return modes
}

// state tries to write to the state folder, or to the folder that it would be made
// in, and returns the free space there in bytes.
func state(dir string) (free uint64, err error) {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, err
		}
		return s.Bavail * uint64(s.Bsize), unix.Access(dir, unix.W_OK|unix.X_OK)
	}
}

// closed looks for what the owner of the state folder, as whom the daemon runs, cannot
// use there. What we may not see ourselves is left out.
func closed(state, database string) (unreadable, unwritable []string) {
	dir, err := filepath.EvalSymlinks(state) // with systemd's DynamicUser it is a link
	if err != nil {
		return nil, nil
	}
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err != nil || owner.Uid == 0 {
		return nil, nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var is unix.Stat_t
		if err != nil || unix.Lstat(path, &is) != nil {
			return nil
		}
		const read, write, look = 4, 2, 1
		need := uint32(read)
		switch {
		case d.IsDir():
			need |= write | look
		case !d.Type().IsRegular():
			return nil
		case slices.Contains([]string{database, database + "-wal", database + "-shm"}, d.Name()):
			need |= write
		}
		switch lacks := need &^ allowed(is, owner.Uid, owner.Gid); {
		case lacks&(read|look) != 0:
			unreadable = append(unreadable, path)
		case lacks != 0:
			unwritable = append(unwritable, path)
		}
		return nil
	})
	return unreadable, unwritable
}

// allowed is what a user may do with a file: the three bits of its mode that are about
// him (path_resolution(7)).
func allowed(file unix.Stat_t, uid, gid uint32) uint32 {
	switch {
	case file.Uid == uid:
		return file.Mode >> 6 & 7
	case file.Gid == gid:
		return file.Mode >> 3 & 7
	}
	return file.Mode & 7
}

func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// unsynchronized asks the kernel whether anything keeps its clock right
// (adjtimex(2)).
func unsynchronized() bool {
	var t unix.Timex
	status, err := unix.Adjtimex(&t)
	const timeError = 5 // TIME_ERROR
	return err == nil && status == timeError
}

// sysctl reads a number; 0 if it cannot be had.
func sysctl(name string) int {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

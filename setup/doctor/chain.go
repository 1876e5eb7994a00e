package doctor

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	ipxebinary "farmboot/ipxe/binary"
	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/setup"
	"farmboot/setup/secureboot"
)

// Chain is the way of a machine with Secure Boot on that trusts our certificate, fetched
// file by file at an address of ours.
type Chain struct {
	Addr  netip.Addr
	Links []Link
}

// Link is one file of it.
type Link struct {
	File string
	Err  error // why it cannot be had, or would be refused; nil: it starts
}

const (
	chainLimit = 30 * time.Second // for all of it: some 80 MB, from this host
	maxProgram = 16 << 20         // bytes of a boot program
	maxKernel  = 512 << 20
)

// chains walks the chain on each LAN. The error is why there is none.
func chains(ctx context.Context, c setup.Config, lans []setup.Interface) ([]Chain, error) {
	shims, err := ipxebinary.Load(c.IPXE.Template).Shims()
	if err != nil {
		return nil, err
	}
	var all []Chain
	for _, i := range lans {
		ctx, cancel := context.WithTimeout(ctx, chainLimit)
		all = append(all, walk(ctx, c, i.Addr(), shims))
		cancel()
	}
	return all, nil
}

// walk fetches what firmware, shim and iPXE fetch one after the other, and checks each
// file's signature as whoever starts it does.
func walk(ctx context.Context, c setup.Config, at netip.Addr, shims ipxebinary.Shims) Chain {
	chain := Chain{Addr: at}
	get := func(name string, check func([]byte) error) []byte {
		data, err := getTFTP(ctx, netip.AddrPortFrom(at, c.TFTP.Port), name)
		if err == nil {
			err = check(data)
		}
		chain.Links = append(chain.Links, Link{name, err})
		return data
	}
	shim := get(shims.Name, secureboot.CheckShim)
	var ours *x509.Certificate
	get(catalog.Certificate, func(der []byte) (err error) {
		ours, err = x509.ParseCertificate(der)
		return err
	})
	signed := func(program []byte) error {
		if ours == nil {
			return errors.New("our certificate is missing")
		}
		return secureboot.CheckSigned(program, ours)
	}
	if shims.Pair {
		get(ipxebinary.EFI, func(b []byte) error { return secureboot.CheckStarted(shim, b) })
	} else {
		get(catalog.SecondStage, signed)
		get(catalog.SNPFolder+catalog.SecondStage, signed)
		get(ipxebinary.MokManager, func(b []byte) error { return secureboot.CheckStarted(shim, b) })
	}
	name := kernel.DefaultOf(c.Provisioning.RunMode)
	data, err := getHTTP(ctx, netip.AddrPortFrom(at, c.HTTP.Port), "/kernel/"+name)
	if errors.Is(err, errNoFile) {
		return chain // that there is none is said of kernels
	}
	if err == nil {
		err = signed(data)
	}
	chain.Links = append(chain.Links, Link{path.Base(name), err})
	return chain
}

// errNoFile says that a server has no such file.
var errNoFile = errors.New("there is no such file")

// getHTTP fetches a file.
func getHTTP(ctx context.Context, at netip.AddrPort, name string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+name, nil)
	if err != nil {
		return nil, err
	}
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, errNoFile
	default:
		return nil, saysError{response.Status, ""}
	}
	return io.ReadAll(io.LimitReader(response.Body, maxKernel))
}

// Of TFTP (RFC 1350), and what we ask for (RFC 2348, RFC 7440): this host sends to itself.
const (
	tftpData, tftpAck, tftpError, tftpOACK = 3, 4, 5, 6

	tftpBlock   = 512 // bytes, where the server knows no options
	tftpOptions = "blksize\x001428\x00windowsize\x0016\x00"
	tftpTries   = 4 // how often in a row nothing of use may come
)

// getTFTP fetches a file.
func getTFTP(ctx context.Context, at netip.AddrPort, name string) ([]byte, error) {
	var d net.ListenConfig
	conn, err := d.ListenPacket(ctx, "udp4", netip.AddrPortFrom(at.Addr(), 0).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var data []byte
	last, to := fmt.Appendf(nil, "\x00\x01%s\x00octet\x00%s", name, tftpOptions), net.Addr(net.UDPAddrFromAddrPort(at))
	packet := make([]byte, 2048)
	size, window := tftpBlock, 1
	var got, acked uint16 // the last block in order, and the last that the server was told of
	due := true           // last is to be sent
	for tries := 0; ; {
		if tries++; tries > tftpTries || ctx.Err() != nil {
			return nil, errors.New("the transfer stops on the way")
		}
		if due {
			if _, err := conn.WriteTo(last, to); err != nil {
				return nil, err
			}
			acked = got
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		n, from, err := conn.ReadFrom(packet)
		due = true
		ne, isNet := errors.AsType[net.Error](err)
		switch {
		case isNet && ne.Timeout():
			continue
		case err != nil:
			return nil, err
		case n >= 4 && packet[1] == tftpError:
			return nil, fmt.Errorf("it says %q", strings.TrimRight(string(packet[4:n]), "\x00"))
		case n >= 2 && packet[1] == tftpOACK && got == 0:
			size, window = agreed(packet[2:n], size, window)
			last, to, tries = []byte{0, tftpAck, 0, 0}, from, 0
			continue
		case n < 4 || packet[1] != tftpData || binary.BigEndian.Uint16(packet[2:]) != got+1:
			due = false // an earlier one once more, or one was lost, which is asked for after a second
			continue
		}
		data, got, tries = append(data, packet[4:n]...), got+1, 0
		if len(data) > maxProgram {
			return nil, fmt.Errorf("it has more than %d bytes", maxProgram)
		}
		last, to = binary.BigEndian.AppendUint16([]byte{0, tftpAck}, got), from
		if n-4 < size {
			_, err = conn.WriteTo(last, to)
			return data, err
		}
		due = int(got-acked) >= window
	}
}

// agreed reads the block and window sizes of an OACK.
func agreed(options []byte, size, window int) (int, int) {
	words := strings.Split(string(options), "\x00")
	for i := 0; i+1 < len(words); i += 2 {
		v, err := strconv.Atoi(words[i+1])
		if err != nil || v < 1 || v > 2044 {
			continue
		}
		switch strings.ToLower(words[i]) {
		case "blksize":
			size = v
		case "windowsize":
			window = v
		}
	}
	return size, window
}

// checkSecureBoot judges what machines with Secure Boot on meet.
func checkSecureBoot(f Facts) []Finding {
	if !f.Config.SecureBoot.Enabled {
		return nil
	}
	const why = "machines with Secure Boot on do not boot"
	if f.ChainErr != nil {
		return []Finding{stop("Secure Boot is switched on, but cannot be: "+f.ChainErr.Error(), why, "setup/template.sh "+f.Config.IPXE.Template+", then "+restart)}
	}
	var all []Finding
	for _, c := range f.Chains {
		all = append(all, judgeChain(c)...)
	}
	return all
}

func judgeChain(c Chain) []Finding {
	var broken []Finding
	var files []string
	for _, l := range c.Links {
		files = append(files, l.File)
		switch {
		case l.Err == nil:
		case errors.Is(l.Err, authenticode.ErrNotSigned):
			broken = append(broken, stop(fmt.Sprintf("a machine with Secure Boot on refuses %s from %s: %v", l.File, c.Addr, l.Err), "it does not boot", mendLink(l.File)))
		default:
			broken = append(broken, stop(fmt.Sprintf("a machine with Secure Boot on cannot start %s from %s: %v", l.File, c.Addr, l.Err), "it does not boot", mendLink(l.File)))
		}
	}
	if broken == nil {
		broken = []Finding{ok("a machine with Secure Boot on that trusts our certificate starts from %s: %s", c.Addr, strings.Join(files, ", "))}
	}
	return broken
}

// mendLink says what to do about a file of the chain.
func mendLink(file string) string {
	switch path.Base(file) {
	case ipxebinary.Shim, ipxebinary.IPXEShim, ipxebinary.MokManager, ipxebinary.EFI:
		return "get them anew: setup/template.sh --update"
	case catalog.SecondStage, catalog.Certificate:
		return restart + "; farmboot secureboot show"
	}
	return "store a kernel that is an EFI program for x64; farmboot secureboot show lists those that are signed"
}

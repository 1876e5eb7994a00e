package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/pin/tftp/v3"

	ipxebinary "farmboot/ipxe/binary"
	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning/filenames"
	"farmboot/provisioning/installed"
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
	get(filenames.Certificate, func(der []byte) (err error) {
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
		get(filenames.EFI, func(b []byte) error { return secureboot.CheckStarted(shim, b) })
	} else {
		get(filenames.SecondStage, signed)
		get(filenames.SNPFolder+filenames.SecondStage, signed)
		get(filenames.MokManager, func(b []byte) error { return secureboot.CheckStarted(shim, b) })
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
	response, err := get(ctx, at, name)
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

// getTFTP fetches a file.
func getTFTP(ctx context.Context, at netip.AddrPort, name string) ([]byte, error) {
	client, err := tftp.NewClient(at.String())
	if err != nil {
		return nil, err
	}
	client.SetTimeout(time.Second)
	client.SetRetries(tftpTries)
	client.SetBlockSize(1428)
	from, err := client.Receive(name, "octet")
	if err != nil { // the server's own words end in NUL (RFC 1350 section 5)
		return nil, errors.New(strings.TrimRight(err.Error(), "\x00"))
	}
	var data bounded
	if _, err = from.WriteTo(&data); err == nil {
		err = ctx.Err()
	}
	return data.Bytes(), err
}

// tftpTries is how often a packet is sent.
const tftpTries = 4

// bounded is a boot program, as far as it has come.
type bounded struct{ bytes.Buffer }

// Write refuses what is too long.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxProgram {
		return 0, fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	return b.Buffer.Write(p)
}

// checkSecureBoot judges what machines with Secure Boot on meet.
func checkSecureBoot(f Facts) []Finding {
	if !f.Config.SecureBoot.Enabled {
		return nil
	}
	const why = "machines with Secure Boot on do not boot"
	if f.ChainErr != nil {
		return []Finding{stop("Secure Boot is switched on, but cannot be: "+f.ChainErr.Error(), why, installed.TemplateScript+" "+f.Config.IPXE.Template+", then "+restart)}
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
	case filenames.Shim, filenames.IPXEShim, filenames.MokManager, filenames.EFI:
		return "get them anew: " + installed.TemplateScript + " --update"
	case filenames.SecondStage, filenames.Certificate:
		return restart + "; farmboot secureboot show"
	}
	return "store a kernel that is an EFI program for x64; farmboot secureboot show lists those that are signed"
}

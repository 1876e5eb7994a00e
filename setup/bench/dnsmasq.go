package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"farmboot/setup/lab"
)

// dnsmasq starts dnsmasq as what stands in our place: a proxyDHCP server that
// offers ipxe.efi, and a TFTP server that has it. It returns its process id.
func (s *site) dnsmasq(ctx context.Context) (int, error) {
	if err := os.MkdirAll(s.path("tftp"), 0o755); err != nil {
		return 0, err
	}
	lan := netip.PrefixFrom(s.other.Addr(), 16).Masked().Addr()
	log := s.path("other-dnsmasq.log")
	p, err := s.start(s.other, "other.log", "dnsmasq",
		"--conf-file=/dev/null", "--keep-in-foreground", "--user=root", "--pid-file="+s.path("dnsmasq.pid"),
		"--log-facility="+log, "--port=0", "--no-resolv", "--no-hosts",
		"--interface="+lab.Interface, "--bind-interfaces",
		fmt.Sprintf("--dhcp-range=%s,proxy", lan),
		"--pxe-service=x86PC,Boot,undionly.kpxe", "--pxe-service=X86-64_EFI,Boot,ipxe.efi", "--pxe-service=BC_EFI,Boot,ipxe.efi",
		"--enable-tftp", "--tftp-root="+s.path("tftp"),
		"--tftp-max=256") // of its own accord it serves 50 at once
	if err != nil {
		return 0, err
	}
	err = poll(ctx, p, func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "TFTP root is")
	})
	if err != nil {
		return 0, fmt.Errorf("start dnsmasq: %w: %s %s", err, tail(s.path("other.log.err")), tail(log))
	}
	return p.PID(), nil
}

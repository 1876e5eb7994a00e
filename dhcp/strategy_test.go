package dhcp

import (
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/provisioning"
)

var (
	usual        = provisioning.Strategy{}
	snponly      = provisioning.Strategy{NBP: provisioning.SNPOnly}
	offer        = provisioning.Strategy{Form: provisioning.FileInOffer}
	snponlyOffer = provisioning.Strategy{NBP: provisioning.SNPOnly, Form: provisioning.FileInOffer}
)

func client(arch uint16) Client {
	p, ok := ProgramFor(iana.Arch(arch))
	if !ok {
		panic("no such architecture")
	}
	c := Client{MAC: provisioning.MAC{0x52, 0x54, 0, 0, 0, 1}, Arch: iana.Arch(arch), Program: p, Class: PXEClient}
	if p.HTTP {
		c.Class = HTTPClient
	}
	return c
}

func TestNext(t *testing.T) {
	r := Responder{TFTP: true}
	ipxe := client(0)
	ipxe.IPXE.Present = true
	for name, c := range map[string]struct {
		client   Client
		pinned   provisioning.NBP
		outcomes []outcome
		want     []provisioning.Strategy
	}{
		"UEFI that takes no answer": {client(7), "", []outcome{unfetched, unfetched, unfetched, unfetched}, []provisioning.Strategy{usual, offer, snponly, snponlyOffer, usual}},
		"UEFI that is silent":       {client(7), "", []outcome{silent, silent, silent, silent}, []provisioning.Strategy{usual, snponly, offer, snponlyOffer, usual}},
		"old UEFI whose card hangs": {client(9), "", []outcome{silent, booted, booted}, []provisioning.Strategy{usual, snponly, snponly, snponly}},
		"both":                      {client(7), "", []outcome{unfetched, silent, booted}, []provisioning.Strategy{usual, offer, snponlyOffer, snponlyOffer}},
		"pinned":                    {client(7), provisioning.SNPOnly, []outcome{silent, unfetched}, []provisioning.Strategy{snponly, snponlyOffer, snponly}},
		"arm64":                     {client(11), "", []outcome{silent, unfetched}, []provisioning.Strategy{usual, offer, usual}},
		"HTTP Boot":                 {client(16), "", []outcome{silent, booted, silent}, []provisioning.Strategy{usual, snponly, snponly, usual}},
		"BIOS":                      {client(0), "", []outcome{unfetched, unfetched}, []provisioning.Strategy{usual, {Form: provisioning.FromBootServer}, usual}},
		"iPXE":                      {ipxe, "", []outcome{unfetched, booted}, []provisioning.Strategy{usual, {Form: provisioning.ProgramForIPXE}, {Form: provisioning.ProgramForIPXE}}},
	} {
		ch := r.choicesOf(c.client, Ingress{}, c.pinned)
		s := ch.first()
		got := []provisioning.Strategy{s}
		for _, o := range c.outcomes {
			s = ch.next(s, o)
			got = append(got, s)
			if !ch.allows(s) {
				t.Errorf("%s: %v is not among the choices", name, s)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestNext_WithShim: where the signed chain is handed out, all that is tried is signed,
// but for a node that is pinned to the plain chain.
func TestNext_WithShim(t *testing.T) {
	r := Responder{TFTP: true, Shim: "shimx64.efi"}
	for name, c := range map[string]struct {
		client Client
		pinned provisioning.NBP
		want   []string
	}{
		"UEFI":      {client(7), "", []string{"shimx64.efi", "snp/shimx64.efi", "shimx64.efi"}},
		"HTTP Boot": {client(16), "", []string{"shimx64.efi", "snp/shimx64.efi", "shimx64.efi"}},
		"plain":     {client(7), provisioning.Plain, []string{"ipxe.efi", "snponly.efi", "ipxe.efi"}},
		"pinned":    {client(7), provisioning.Signed, []string{"grubx64.efi", "grubx64.efi", "grubx64.efi"}},
		"arm64":     {client(11), "", []string{"ipxe-arm64.efi", "ipxe-arm64.efi", "ipxe-arm64.efi"}},
		"BIOS":      {client(0), "", []string{"undionly.kpxe", "undionly.kpxe", "undionly.kpxe"}},
	} {
		ch := r.choicesOf(c.client, Ingress{}, c.pinned)
		s := ch.first()
		var got []string
		for range 3 {
			if !ch.allows(s) {
				t.Errorf("%s: %v is not among the choices", name, s)
			}
			got = append(got, c.client.Program.file(s.NBP, r.Shim))
			s = ch.next(s, silent)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if ch := r.choicesOf(client(7), Ingress{}, ""); ch.allows(snponly) {
		t.Error("what booted a machine before Secure Boot was switched on is still used")
	}
}

// boots plays the boots of one client.
type boots struct {
	*attempts
	client  Client
	choices choices
	stored  *provisioning.Proven
	xid     byte
}

func newBoots(arch uint16) *boots {
	c := client(arch)
	return &boots{attempts: newAttempts(), client: c, choices: Responder{TFTP: true}.choicesOf(c, Ingress{}, "")}
}

// ask sends a DISCOVER.
func (b *boots) ask(xid byte, secs uint16) provisioning.Strategy {
	req := &dhcpv4.DHCPv4{TransactionID: dhcpv4.TransactionID{xid}, NumSeconds: secs}
	return b.discover(b.client, req, b.choices, func() (provisioning.Proven, bool) {
		if b.stored == nil {
			return provisioning.Proven{}, false
		}
		return *b.stored, true
	})
}

// again begins another boot.
func (b *boots) again() provisioning.Strategy {
	b.xid++
	return b.ask(b.xid, 0)
}

func (b *boots) want(t *testing.T, got, want provisioning.Strategy) {
	t.Helper()
	if got != want {
		t.Errorf("gets %s, want %s", got, want)
	}
}

// TestAttempts_RepeatsAreNoFailures: iPXE sends each DISCOVER twice with one xid, firmware
// after 4, 8, 16 and 32 s, and some of that takes a new xid each time.
func TestAttempts_RepeatsAreNoFailures(t *testing.T) {
	b := newBoots(7)
	for _, secs := range []uint16{0, 0, 4, 12, 28} {
		b.want(t, b.ask(1, secs), usual)
	}
	b = newBoots(7)
	for i, secs := range []uint16{0, 4, 12, 28} {
		b.want(t, b.ask(byte(i), secs), usual)
	}
	b.want(t, b.ask(9, 0), offer) // and this is another boot
}

func TestAttempts_WhatWorksStays(t *testing.T) {
	b := newBoots(7)
	b.want(t, b.again(), usual)
	b.fetched(b.client.MAC)
	p, news := b.running(b.client.MAC)
	if want := (provisioning.Proven{MAC: b.client.MAC, Client: "pxe"}); !news || p != want {
		t.Errorf("proven: %+v, %v", p, news)
	}
	if _, news := b.running(b.client.MAC); news {
		t.Error("it is told twice")
	}
	for range 20 {
		b.want(t, b.again(), usual)
	}
}

func TestAttempts_AfterARestart(t *testing.T) {
	b := newBoots(7)
	b.stored = &provisioning.Proven{MAC: b.client.MAC, Client: "pxe", Strategy: snponlyOffer}
	for range 3 {
		b.want(t, b.again(), snponlyOffer)
	}
	b = newBoots(16) // what its PXE needs says nothing of HTTP Boot
	b.stored = &provisioning.Proven{MAC: b.client.MAC, Client: "pxe", Strategy: snponlyOffer}
	b.want(t, b.again(), usual)
}

// TestAttempts_AStickProvesNothing: a machine that we could not boot comes up from a
// stick, and asks for its script.
func TestAttempts_AStickProvesNothing(t *testing.T) {
	b := newBoots(7)
	b.want(t, b.again(), usual)
	if _, news := b.running(b.client.MAC); news {
		t.Error("what it did not fetch has booted it")
	}
	b.want(t, b.again(), usual) // it booted, somehow
	b.want(t, b.again(), offer)
}

func TestAttempts_APinDecides(t *testing.T) {
	b := newBoots(7)
	b.stored = &provisioning.Proven{MAC: b.client.MAC, Client: "pxe", Strategy: snponly}
	b.want(t, b.again(), snponly)
	b.choices = Responder{TFTP: true}.choicesOf(b.client, Ingress{}, provisioning.AllDrivers)
	b.want(t, b.again(), provisioning.Strategy{NBP: provisioning.AllDrivers})
	b.fetched(b.client.MAC)
	b.want(t, b.again(), provisioning.Strategy{NBP: provisioning.AllDrivers, Form: provisioning.FileInOffer})
}

// TestAttempts_ShimRefuses: where shim runs and does not trust our key, no other program
// would do better, and none has proven itself.
func TestAttempts_ShimRefuses(t *testing.T) {
	b := newBoots(7)
	b.choices = Responder{TFTP: true, Shim: "shimx64.efi"}.choicesOf(b.client, Ingress{}, "")
	for range 3 {
		b.want(t, b.again(), usual)
		b.fetched(b.client.MAC)
		b.refused(b.client.MAC)
	}
	b.want(t, b.again(), usual)
	b.fetched(b.client.MAC)
	b.want(t, b.again(), provisioning.Strategy{NBP: provisioning.SignedSNPOnly})
	b.fetched(b.client.MAC)
	if p, news := b.running(b.client.MAC); !news || p.Strategy.NBP != provisioning.SignedSNPOnly {
		t.Errorf("proven: %+v, %v", p, news)
	}
}

// TestAttempts_ClientsOfOneMachine: firmware tries PXE, then HTTP Boot, then PXE again.
func TestAttempts_ClientsOfOneMachine(t *testing.T) {
	pxe, http := newBoots(7), newBoots(16)
	http.attempts = pxe.attempts
	pxe.want(t, pxe.again(), usual)
	http.want(t, http.again(), usual)
	http.fetched(http.client.MAC)
	if p, news := http.running(http.client.MAC); !news || p.Client != "http" {
		t.Errorf("proven: %+v, %v", p, news)
	}
	pxe.want(t, pxe.again(), offer)
	http.want(t, http.again(), usual)
}

// TestAttempts_OfOneArchitecture: that a machine does not boot as BIOS says nothing of its UEFI,
// and what its BIOS needs is not what its UEFI needs.
func TestAttempts_OfOneArchitecture(t *testing.T) {
	bios, uefi, other := newBoots(0), newBoots(7), newBoots(11)
	uefi.attempts, other.attempts = bios.attempts, bios.attempts
	bios.want(t, bios.again(), usual)
	uefi.want(t, uefi.again(), usual)
	bios.want(t, bios.again(), provisioning.Strategy{Form: provisioning.FromBootServer})
	bios.fetched(bios.client.MAC)
	if p, news := bios.running(bios.client.MAC); !news || p.Client != "bios" {
		t.Errorf("proven: %+v, %v", p, news)
	}
	uefi.want(t, uefi.again(), offer)
	other.want(t, other.current(other.client, other.choices), usual)
	other.want(t, other.again(), usual)
	other.want(t, other.again(), offer)
	uefi.want(t, uefi.again(), usual)
}

package http

import (
	"net/http"

	"farmboot/ipxe"
	"farmboot/provisioning"
)

// secureBootOn tells whether our script says that it runs with Secure Boot on: iPXE reads
// the firmware's variable SecureBoot (UEFI 2.10, 3.3), one byte.
func (r asking) secureBootOn() bool { return r.query.Get("secureboot") == "01" }

// enrols tells whether a node is to be made to trust our key now. One that runs our
// script with Secure Boot on trusts it already, which is noted.
func (b *Boot) enrols(r asking, mac provisioning.MAC) bool {
	if b.SecureBoot == nil || r.Method != http.MethodGet {
		return false
	}
	if r.secureBootOn() {
		b.SecureBoot.Trusts(mac)
		b.SecureBoot.Enrolled(mac)
		return false
	}
	return b.SecureBoot.Enrolling(mac)
}

// enrolment is what a node gets that is to be made to trust our key.
func (b *Boot) enrolment(site ipxe.Site, n provisioning.Node) (ipxe.Answer, error) {
	fingerprint, err := b.SecureBoot.Fingerprint()
	if err != nil {
		return ipxe.Answer{}, err
	}
	script, err := site.Enrol(n, fingerprint)
	return ipxe.Answer{
		Script: script,
		Event:  provisioning.Event{Stage: provisioning.StageScript, Detail: "MokManager: a person is to make it trust our key"},
	}, err
}

// endEnrolment ends the enrolment of the node that fetches MokManager for it.
func (b *Boot) endEnrolment(r *http.Request) {
	mac, err := provisioning.ParseMAC(r.URL.Query().Get("enrol"))
	if err == nil && b.SecureBoot != nil && r.Method == http.MethodGet {
		b.SecureBoot.Enrolled(mac)
	}
}

// signedSum returns the SHA-256 of a kernel as it goes out.
func (b *Boot) signedSum(name string) (string, error) {
	sum, ok, err := b.Signed.Sum(name)
	if err == nil && !ok {
		return b.Kernels.SHA256(name)
	}
	return sum, err
}

// signs tells whether a kernel goes out signed.
func (b *Boot) signs(r *http.Request) bool {
	return b.Signed != nil && !r.URL.Query().Has("original")
}

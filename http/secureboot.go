package http

import (
	"net/http"

	"farmboot/http/answer"
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
	if !b.SecureBoot.HasMokManager() && !(r.inSetupMode() && b.SecureBoot.NoKeyDisk() == nil) {
		return false // there is nothing to do it with
	}
	return b.SecureBoot.Enrolling(mac)
}

// inSetupMode tells whether our script says that it runs on x64 firmware in Setup Mode
// (UEFI 2.10, 32.3), which takes new keys unasked.
func (r asking) inSetupMode() bool {
	return r.query.Get("setupmode") == "01" && machineOf(r.query).Arch == "UEFI x64"
}

// enrolment is what a node gets that is to be made to trust our key.
func (b *Boot) enrolment(r asking, site ipxe.Site, n provisioning.Node) (ipxe.Answer, error) {
	missing := ""
	if r.inSetupMode() {
		err := b.SecureBoot.NoKeyDisk()
		if err == nil {
			script, err := site.EnrolSetupMode(n)
			return ipxe.Answer{
				Script: script,
				Event:  provisioning.Event{Stage: provisioning.StageScript, Detail: "Setup Mode: its firmware is given our key, and starts anew"},
			}, err
		}
		missing = answer.PublicMessage(err)
	}
	fingerprint, err := b.SecureBoot.Fingerprint()
	if err != nil {
		return ipxe.Answer{}, err
	}
	script, err := site.Enrol(n, fingerprint, missing)
	return ipxe.Answer{
		Script: script,
		Event:  provisioning.Event{Stage: provisioning.StageScript, Detail: "MokManager: a person is to make it trust our key"},
	}, err
}

// endEnrolment ends the enrolment of the node that fetches the means for it, and tells
// whether that did end.
func (b *Boot) endEnrolment(r *http.Request) bool {
	mac, err := provisioning.ParseMAC(r.URL.Query().Get("enrol"))
	if err != nil || b.SecureBoot == nil || r.Method != http.MethodGet || !b.SecureBoot.Enrolling(mac) {
		return false
	}
	b.SecureBoot.Enrolled(mac)
	return true
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

package story

import (
	"path"
	"slices"

	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// link is a part of the chain by which x64 UEFI machines with Secure Boot on come to our
// script: firmware starts shim, shim our iPXE, and if it does not trust who signed that,
// MokManager, by which a person makes it.
type link string

// The links.
const (
	noLink      link = ""
	shim        link = "shim"
	secondStage link = "second stage"
	mokManager  link = "mokmanager"

	// Disks that a node is enrolled from: not of the chain.
	keyDisk   link = "key disk"   // writes our key into firmware in Setup Mode
	enrolDisk link = "enrol disk" // has all of the chain, for HTTP Boot to keep in memory
)

// linkOf tells which link an event shows that a machine has fetched whole. Files are in a
// folder for each variant.
func linkOf(e provisioning.Event) link {
	if e.Stage != provisioning.StageNBP || e.Bytes < e.Size {
		return noLink
	}
	switch path.Base(e.File) {
	case filenames.Shim, filenames.IPXEShim:
		return shim
	case filenames.SecondStage:
		return secondStage
	case filenames.MokManager:
		return mokManager
	case filenames.KeyDisk:
		return keyDisk
	case filenames.EnrolDisk:
		return enrolDisk
	}
	return noLink
}

// brokenLink returns what shows that a machine refuses a link. Shim fetches MokManager
// when it has refused what comes next; a script of ours fetches it to enrol our key, which
// is no failure. Firmware that has refused shim begins anew, and comes to shim again.
func brokenLink(before, boot []provisioning.Event) (provisioning.Cause, bool) {
	last := boot[len(boot)-1]
	scripted := slices.ContainsFunc(boot, func(e provisioning.Event) bool { return e.Stage == provisioning.StageScript })
	switch at := linkOf(last); {
	case at == mokManager && !scripted:
		return provisioning.Cause{ID: provisioning.CauseNotEnrolled, File: fileOf(boot, secondStage)}, true
	case at == shim, last.Stage == provisioning.StageDiscover, last.Stage == provisioning.StageOffer, last.Stage == provisioning.StageBootServer:
		if len(before) > 0 && linkOf(before[len(before)-1]) == shim {
			return provisioning.Cause{ID: provisioning.CauseShimRefused, File: fileOf(before, shim)}, true
		}
	}
	return provisioning.Cause{}, false
}

// fileOf is the name of the file that was last fetched as that link.
func fileOf(events []provisioning.Event, l link) string {
	for _, e := range slices.Backward(events) {
		if linkOf(e) == l {
			return e.File
		}
	}
	return ""
}

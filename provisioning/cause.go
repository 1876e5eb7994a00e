package provisioning

import "errors"

// Cause says why something was refused, or went wrong: which fault, and the few values
// that tell about it. It is stored with events and carried by errors; package cause has
// the words. Causes are compared, words never are.
type Cause struct {
	ID      CauseID `json:"id"`
	Kernel  string  `json:"kernel,omitempty"` // path below /kernel/
	RunMode RunMode `json:"runmode,omitempty"`
	File    string  `json:"file,omitempty"`   // that was asked for
	Arch    string  `json:"arch,omitempty"`   // what the client says it is
	Server  string  `json:"server,omitempty"` // which service, or whose: "TFTP", an address
	Size    int64   `json:"size,omitempty"`   // how much it was …
	Limit   int64   `json:"limit,omitempty"`  // … of how much at most
	Note    string  `json:"note,omitempty"`   // in others' words: a library's, a client's
}

// CauseID identifies a fault. They are stored: an identifier never changes its meaning.
type CauseID string

// The causes of refusals.
const (
	CauseOther           CauseID = "other"             // Note says it all
	CauseIgnored         CauseID = "ignored"           // not registered, and unknown = "ignore"
	CauseExit            CauseID = "exit"              // not registered, and unknown = "exit"
	CauseExitNode        CauseID = "exit-node"         // registered so: it goes on to its next boot device
	CauseExitOnce        CauseID = "exit-once"         // the same, for this boot alone
	CauseHeld            CauseID = "held"              // not registered, and unknown = "hold"; Note is its claim code
	CauseKernelMissing   CauseID = "kernel-missing"    // Kernel; RunMode, if it is the default of one; File, if that is gone to which it is a link; Note, if that is no file of ours
	CauseKernelBroken    CauseID = "kernel-broken"     // Kernel is there, and no file that boots; RunMode, if it is the default of one; Note says why
	CauseKernelUnread    CauseID = "kernel-unreadable" // Kernel cannot be read; Note
	CauseRunModeUnknown  CauseID = "runmode-unknown"   // RunMode; Note lists what is accepted
	CauseArgs            CauseID = "args"              // kernel arguments are refused; Note
	CauseCmdlineTooLong  CauseID = "cmdline-too-long"  // Size, Limit
	CauseArchUnknown     CauseID = "arch-unknown"      // Arch: option 93; Note: option 60
	CauseRaspberryPi     CauseID = "raspberry-pi"      // a Raspberry Pi that claims to be a BIOS PC
	CauseNotEthernet     CauseID = "not-ethernet"      // hardware address: Size is its type (htype), Limit its length (hlen)
	CauseTFTPOff         CauseID = "tftp-off"          // it needs TFTP
	CauseReplyTooLarge   CauseID = "reply-too-large"   // for the client, or a packet
	CauseFileUnknown     CauseID = "file-unknown"      // File, asked of Server
	CauseUnclaimed       CauseID = "unclaimed"         // it was claimed, and is not registered any more; Note is who removed it
	CauseQueued          CauseID = "queued"            // it waits for its turn: place Size of Limit
	CauseStoreSilent     CauseID = "store-silent"      // the database does not answer
	CauseProgramsMissing CauseID = "programs-missing"  // the template folder has not what is needed; Note
)

// The causes of what a node tells, or shows, to have failed ([StageFailed]).
const (
	CauseSecureBoot     CauseID = "secure-boot"     // Secure Boot refused Kernel, or File if that is set
	CauseShimRefused    CauseID = "shim-refused"    // the firmware did not start shim, File, with Secure Boot on
	CauseNotEnrolled    CauseID = "not-enrolled"    // shim did not start File, which our key signed
	CauseNotExecutable  CauseID = "not-executable"  // the machine cannot start Kernel: another architecture, no EFI application
	CauseKernelRefused  CauseID = "kernel-refused"  // the machine refused Kernel; Note is iPXE's error
	CauseProgramRefused CauseID = "program-refused" // the firmware did not start File
	CauseNetworkFailed  CauseID = "network-failed"  // its card got no link or no address; Note
	CauseScriptFailed   CauseID = "script-failed"   // the boot script ended early; Note
	CauseNotUp          CauseID = "not-up"          // it netbooted again soon after Kernel went out, without having been up
)

// IsZero tells whether there is no cause.
func (c Cause) IsZero() bool { return c == Cause{} }

// Unbootable tells whether c is that we have nothing that the machine could start,
// registered or not.
func (c Cause) Unbootable() bool {
	switch c.ID {
	case CauseArchUnknown, CauseRaspberryPi, CauseNotEthernet:
		return true
	}
	return false
}

// CauseOf returns the cause that err carries; for an error without one, [CauseOther] with
// its text, and the zero value for nil.
func CauseOf(err error) Cause {
	if err == nil {
		return Cause{}
	}
	if e, ok := errors.AsType[*Error](err); ok && !e.Cause.IsZero() {
		return e.Cause
	}
	return Cause{ID: CauseOther, Note: err.Error()}
}

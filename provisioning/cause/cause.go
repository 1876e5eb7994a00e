// Package cause turns causes into words: what is wrong, and what to do about it. It is
// the one place that does, for consoles, the log, the command line, the API and pages.
// Nothing reads its texts but people, so each of them may change.
package cause

import (
	"cmp"
	"fmt"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/installed"
)

// words are what there is to say of a cause. Each text may name values of it in braces.
type words struct {
	message string
	lack    string   // of a kernel that is not here: the same behind the name of its run mode, or its own
	hint    string   // what to do, one line behind the message
	check   []string // what to look at when a boot ends with it, likeliest first
}

var texts = map[provisioning.CauseID]words{
	provisioning.CauseOther: {message: "{note}"},
	provisioning.CauseIgnored: {
		message: `not registered, and unknown = "ignore"`,
	},
	provisioning.CauseExit:      {message: "not registered: sent on to its next boot device"},
	provisioning.CauseExitNode:  {message: "registered to boot from its disk: sent on to its next boot device"},
	provisioning.CauseExitOnce:  {message: "for this boot alone: sent on to its next boot device"},
	provisioning.CauseHeld:      {message: "not registered: waits with claim code {note}"},
	provisioning.CauseUnclaimed: {message: "its registration was removed again by {note}"},
	provisioning.CauseKernelMissing: {
		message: "missing kernel {kernel}: there is none of that name (see farmboot kernel list)",
		lack:    "is not here",
		hint:    "farmboot kernel add FILE --name {kernel} stores it, or the board's page Kernels",
		check:   kernelThere,
	},
	provisioning.CauseKernelBroken: {
		message: "kernel {kernel} cannot be booted: it {note}",
		lack:    "cannot be booted: it {note}",
		hint:    "farmboot kernel add FILE --name {kernel} stores it again, or the board's page Kernels",
		check:   kernelThere,
	},
	provisioning.CauseKernelUnread: {
		message: "kernel {kernel} cannot be read: {note}",
		lack:    "cannot be booted: its file cannot be read: {note}",
		hint:    "farmboot doctor says what stands in the way",
		check:   []string{"the kernel folder is there, and the appliance may read it: farmboot doctor"},
	},
	provisioning.CauseRunModeUnknown: {
		message: `unknown run mode "{runmode}": accepted are {note}`,
		lack:    "is not in the configuration",
		hint:    "farmboot node set --match runmode={runmode} --runmode R gives its nodes another one; or put it into [runmodes] again",
		check:   []string{"the node is registered with one of them: farmboot node set MAC --runmode R"},
	},
	provisioning.CauseArgs: {
		message: "bad kernel arguments: {note}",
		check:   []string{"farmboot node check MAC: it says what is wrong with what it would get"},
	},
	provisioning.CauseCmdlineTooLong: {
		message: "kernel command line is {size} bytes long: at most {limit} are accepted",
		check:   []string{"farmboot node check MAC: it says what is wrong with what it would get"},
	},
	provisioning.CauseArchUnknown: {
		message: `client architecture is none that Farmboot boots: option 93 says {arch}, option 60 "{note}"`,
		check: []string{
			"its firmware boots as BIOS or UEFI on x64, or as UEFI on ARM64 or RISC-V: for others there is no boot program",
		},
	},
	provisioning.CauseRaspberryPi: {
		message: "a Raspberry Pi claims to be a BIOS PC",
		check: []string{
			"UEFI firmware is on its SD card: its own boot ROM says that it is a BIOS PC, and starts nothing of ours",
		},
	},
	provisioning.CauseNotEthernet: {
		message: "hardware address is not a 6-byte MAC address of Ethernet: type {size}, {limit} bytes",
		check: []string{
			"it boots from an Ethernet card: InfiniBand and others have addresses of another kind (DHCP htype, hlen)",
		},
	},
	provisioning.CauseTFTPOff: {
		message: "client needs TFTP, which is switched off",
		check:   []string{"its firmware boots by HTTP (UEFI HTTP Boot), or [tftp] enabled is true"},
	},
	provisioning.CauseReplyTooLarge: {
		message: "reply is larger than the client, or a packet, can take",
		check:   []string{"base-host is short enough: the address of its boot script has to fit into one packet"},
	},
	provisioning.CauseFileUnknown: {
		message: `no file "{file}" by {server}`,
		check: []string{
			"no other DHCP server (a router with options 66 and 67) names a boot file of its own",
		},
	},
	provisioning.CauseQueued: {message: "waits for its turn to fetch its kernel: place {size} of {limit}"},
	provisioning.CauseStoreSilent: {
		message: "the database does not answer",
		hint:    "farmboot doctor on the appliance says why",
	},
	provisioning.CauseProgramsMissing: {
		message: "the iPXE template folder cannot be used: {note}",
		hint:    "run " + installed.TemplateScript,
		check:   []string{"farmboot doctor on the appliance"},
	},
	provisioning.CauseSecureBoot: {
		message: "Secure Boot refused {kernel or file}",
		hint:    "switch Secure Boot off in its firmware, or enrol our certificate (farmboot secureboot enrol MAC)",
		check: []string{
			"Secure Boot is off in the firmware of the node, or [secure-boot] is enabled and our certificate enrolled (farmboot secureboot show)",
		},
	},
	provisioning.CauseShimRefused: {
		message: "the firmware fetched shim ({file}) and did not start it",
		hint:    "its set-up must trust Microsoft's certificate for others' programs",
		check: []string{
			"the firmware's set-up trusts Microsoft's third-party certificates (UEFI CA 2011 or 2023): some have a switch for them, off when sold",
			"the firmware has not revoked this shim: " + installed.TemplateScript + " --update gets the newest",
			"or the firmware holds our certificate in db (farmboot secureboot export), and the node gets our iPXE without shim: farmboot node set MAC --nbp signed",
		},
	},
	provisioning.CauseNotEnrolled: {
		message: "shim did not start our iPXE ({file}): this machine does not trust our key yet",
		hint:    "enrol it (a stick of this appliance, or farmboot secureboot enrol MAC: by HTTP Boot, or with Secure Boot off for one boot: /help/secure-boot)",
		check: []string{
			"the node's screen: \"Verification failed: (0x1A) Security Violation\" says that it does not trust our key",
			"our certificate is enrolled: by a stick of this appliance, Secure Boot on; or farmboot secureboot enrol MAC, and then HTTP Boot, or Secure Boot off for one boot",
			"MokManager, which PXE brings, finds no certificate there: Enroll key from disk leads back to its menu",
			"it is the present one: farmboot secureboot show names the key, and which nodes trust which",
		},
	},
	provisioning.CauseNotExecutable: {
		message: "the machine cannot start {kernel}: it is no program for it",
		check: []string{
			"the kernel is for this machine's architecture and firmware: a BIOS machine needs a bzImage, a UEFI machine an EFI application",
		},
	},
	provisioning.CauseKernelRefused: {
		message: "the machine refused kernel {kernel}: {note}",
		check: []string{
			"the kernel is whole and for this architecture: farmboot kernel list",
			"Secure Boot is off in the node's firmware",
			"the node has memory enough for kernel and initramfs (2 GB)",
		},
	},
	provisioning.CauseProgramRefused: {
		message: "the firmware did not start {file}",
		check: []string{
			"Secure Boot is off in the node's firmware: with it on, firmware loads iPXE and refuses to start it",
		},
	},
	provisioning.CauseNetworkFailed: {
		message: "its network card did not come up: {note}",
		check: []string{
			"cable and switch port of the node",
			"the LAN's DHCP server has an address left for it, and the switch port forwards at once (portfast)",
		},
	},
	provisioning.CauseScriptFailed: {
		message: "its boot script ended early: {note}",
		check:   []string{"the node's screen: the boot script says there what went wrong"},
	},
	provisioning.CauseNotUp: {
		message: "it netbooted again soon after its kernel {kernel} went out, and has not been up in between",
		check: []string{
			"the node's screen, while its kernel starts: a panic ends in a reboot",
			"the kernel is the right one for it: farmboot kernel history shows what was booted before, farmboot kernel rollback RUNMODE goes back to that",
			"the node has memory enough for kernel and initramfs (2 GB)",
			"the LAN's DHCP server has an address left for the operating system",
		},
	},
}

var kernelThere = []string{
	"the kernel of its run mode, or its own if it is registered with one, is there: farmboot kernel list",
}

// missingDefault is what CauseKernelMissing says of the default kernel of a run mode.
var missingDefault = words{
	message: "missing kernel {kernel}: run mode {runmode} has no kernel yet",
	lack:    "has no kernel yet",
	hint:    "farmboot kernel use {runmode} KERNEL gives it one (farmboot kernel add FILE first), or the board's page Kernels",
	check:   kernelThere,
}

// brokenDefault is what CauseKernelBroken says of the default kernel of a run mode.
var brokenDefault = words{
	message: texts[provisioning.CauseKernelBroken].message,
	lack:    "has no kernel that boots: {kernel} {note}",
	hint:    "farmboot kernel use {runmode} KERNEL gives it another one (farmboot kernel add FILE first), or the board's page Kernels",
	check:   kernelThere,
}

// aFolder is the note of a folder in a kernel's place, which no command replaces.
const aFolder = "is a folder"

// Folder is c of a folder in a kernel's place.
func Folder(c provisioning.Cause) provisioning.Cause {
	c.Note = aFolder
	return c
}

// goneDefault and goneLink are what CauseKernelMissing says where there is a link, and the file
// behind it is gone; outsideDefault and outsideLink where it leads elsewhere, to what is not served
// or not there.
var (
	goneDefault = words{
		message: "missing kernel {kernel}: run mode {runmode} boots {file}, which is gone",
		lack:    "boots {file}, which is gone",
		hint:    "farmboot kernel use {runmode} KERNEL gives it another one, farmboot kernel add FILE --name {file} stores it again, or the board's page Kernels",
		check:   kernelThere,
	}
	goneLink = words{
		message: "missing kernel {kernel}: it stands for {file}, which is gone",
		lack:    "stands for {file}, which is gone",
		hint:    "farmboot kernel add FILE --name {file} stores it again, or the board's page Kernels",
		check:   kernelThere,
	}
	outsideDefault = words{
		message: "missing kernel {kernel}: it is a link to {note}",
		lack:    "is pointed at {note}",
		hint:    missingDefault.hint,
		check:   kernelThere,
	}
	outsideLink = words{
		message: outsideDefault.message,
		lack:    "is a link to {note}",
		hint:    "farmboot kernel add FILE --name {kernel} stores a file in its place, or the board's page Kernels",
		check:   kernelThere,
	}
)

// Outside is c of a kernel that is a link out of the kernel folders.
func Outside(c provisioning.Cause) provisioning.Cause {
	c.Note = "a file outside of the kernel folders, which is never served"
	return c
}

// Nowhere is c of a kernel that is a link to what is not there, or a circle of links. Where it
// leads is not for everybody who sees a node's screen.
func Nowhere(c provisioning.Cause) provisioning.Cause {
	c.Note = "a file that is not there"
	return c
}

func wordsOf(c provisioning.Cause) words {
	if c.ID == provisioning.CauseKernelMissing {
		switch isDefault, isLink := c.RunMode != "", c.File != ""; {
		case isDefault && c.Note != "":
			return outsideDefault
		case c.Note != "":
			return outsideLink
		case isDefault && isLink:
			return goneDefault
		case isDefault:
			return missingDefault
		case isLink:
			return goneLink
		}
	}
	if c.ID == provisioning.CauseKernelBroken && c.RunMode != "" {
		w := brokenDefault
		if c.Note == aFolder {
			w.hint = "move it away first; then " + w.hint
		}
		return w
	}
	if w, ok := texts[c.ID]; ok {
		return w
	}
	return words{message: string(c.ID)} // of a later version, in a database that it used
}

// fill puts the values of a cause into a text.
func fill(text string, c provisioning.Cause) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer(
		"{runmode}", string(c.RunMode), "{kernel}", c.Kernel, "{file}", c.File,
		"{kernel or file}", cmp.Or(c.File, c.Kernel), "{arch}", c.Arch, "{server}", c.Server, "{note}", c.Note,
		"{size}", fmt.Sprint(c.Size), "{limit}", fmt.Sprint(c.Limit),
	).Replace(text)
}

// Message says what is wrong, in one line without a full stop.
func Message(c provisioning.Cause) string { return fill(wordsOf(c).message, c) }

// Hint says what to do about it, in one line; "" if there is nothing to say.
func Hint(c provisioning.Cause) string { return fill(wordsOf(c).hint, c) }

// Lack says why there is no kernel to boot, by an error of package kernel; before it comes
// the run mode, or the kernel: "run mode dev", "has no kernel yet".
func Lack(err error) string {
	c := provisioning.CauseOf(err)
	return cmp.Or(fill(wordsOf(c).lack, c), "cannot be booted now") // upstream is silent, for instance
}

// Unconfigured says behind a run mode that it is not in the configuration, and what to do.
func Unconfigured(u provisioning.Unconfigured) (why, hint string) {
	c := provisioning.Cause{ID: provisioning.CauseRunModeUnknown, RunMode: u.RunMode}
	nodes := "the node of it"
	switch {
	case u.Nodes > provisioning.MostUnconfigured:
		nodes = fmt.Sprintf("more than %d,000 nodes of it", provisioning.MostUnconfigured/1000)
	case u.Nodes > 1:
		nodes = fmt.Sprintf("the %d nodes of it", u.Nodes)
	}
	return fill(wordsOf(c).lack, c) + ": " + nodes + " cannot boot", Hint(c)
}

// NoneYet tells whether an error is that there is nothing of that name: no kernel, and no link
// to one. A run mode has no kernel yet then.
func NoneYet(err error) bool {
	c := provisioning.CauseOf(err)
	return c.ID == provisioning.CauseKernelMissing && c.File == "" && c.Note == ""
}

func join(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + "; " + hint
}

// Check says what to look at when a boot ended so, likeliest first.
func Check(c provisioning.Cause) []string {
	if check := wordsOf(c).check; check != nil {
		return check
	}
	return []string{"farmboot node check MAC: it says what is wrong with what it would get"}
}

// Error makes an error of a cause.
func Error(code provisioning.Code, c provisioning.Cause) *provisioning.Error {
	return &provisioning.Error{Code: code, Message: Message(c), Hint: Hint(c), Cause: c}
}

// Detail is what there is to say of an event besides its stage and its figures, in one
// line; "" for nothing.
func Detail(e provisioning.Event) string {
	text := e.Detail
	switch {
	case !e.Cause.IsZero():
		text = join(Message(e.Cause), Hint(e.Cause))
	case text == "" && e.File != "":
		text = e.File
		if e.Via != "" {
			text += " by " + e.Via
		}
		if e.Version != "" {
			text += " (" + e.Version + ")"
		}
	}
	if e.Held > 0 {
		text += fmt.Sprintf(" (and %d times before)", e.Held)
	}
	return text
}

// Told is e with its detail in words, as people and programs outside are shown it.
func Told(e provisioning.Event) provisioning.Event {
	e.Detail = Detail(e)
	return e
}

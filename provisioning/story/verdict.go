package story

import (
	"fmt"
	"slices"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/human"
)

// stall is what it means that a boot ended at a stage.
type stall struct {
	after   time.Duration // after which it should have gone on
	stalled string        // what happened, one sentence
	check   []string      // likeliest first
}

// stallGap is how long nothing may be heard of a transfer that is told of every few
// seconds; a dead client is given up after two minutes, which is told of too.
const stallGap = 3 * time.Minute

// stalls has one for every way a boot can stall. It is as good as what we have
// seen go wrong; add to it.
var stalls = map[string]stall{
	"unseen": {check: []string{
		"the node is set to boot from the network (PXE or HTTP Boot, IPv4) and is on this LAN or VLAN",
		"its network card is the one with this MAC address",
		"farmboot doctor on the appliance",
	}},
	string(provisioning.StageDiscover): {
		10 * time.Second,
		"It asked for a boot server, but we did not answer.",
		[]string{
			"the log of the appliance says that a reply could not be sent, or that there was too much to do at once",
			"another appliance on this LAN may have answered",
		},
	},
	string(provisioning.StageOffer): {
		askGap,
		"We offered to boot it, but it never came for its boot file.",
		[]string{
			"the LAN's DHCP server gave it an address: without one it ignores our offer",
			"no other PXE or DHCP server (a router with options 60, 66 or 67) outranks us: farmboot doctor looks for one",
			"UDP ports 67, 4011 and 69 of the appliance are open in every firewall between",
			"the switch port forwards at once (spanning tree: portfast)",
		},
	},
	string(provisioning.StageBootServer): {
		30 * time.Second,
		"Our boot server told it its boot file, but it did not fetch it.",
		[]string{
			"UDP port 69 (TFTP) of the appliance, and the ports above 1024 that it answers from, are open in every firewall between",
			"nothing between drops large packets: try a smaller [tftp] max-block-size",
		},
	},
	"nbp partial": {
		30 * time.Second,
		"Its network boot program broke off before its end.",
		[]string{
			"nothing between drops large packets (VPN, VLAN in VLAN): try a smaller [tftp] max-block-size",
			"cable and switch port of the node",
		},
	},
	"nbp " + string(shim): {
		30 * time.Second,
		"It has shim, but that never asked for our iPXE: most likely the firmware refused to start shim.",
		cause.Check(provisioning.Cause{ID: provisioning.CauseShimRefused}),
	},
	"nbp " + string(secondStage): {
		time.Minute,
		"Shim has our signed iPXE, but that never asked for its boot script: most likely shim refused it, and says so on the screen.",
		append(cause.Check(provisioning.Cause{ID: provisioning.CauseNotEnrolled}),
			"the LAN's DHCP server has an address left for iPXE, and the switch port forwards at once (portfast)",
			"the HTTP port of the appliance is open, and base-host leads to it from the node's LAN",
			"its network card works with iPXE's driver: try the firmware's (farmboot node set MAC --nbp signed-snponly)",
		),
	},
	"nbp " + string(mokManager): {
		10 * time.Minute,
		"It has MokManager, by which a person makes it trust our key, and has not started anew since.",
		[]string{"a person presses the keys that the node's screen named: Enroll key from disk, iPXE, FARMBOOT.CER, Continue, Yes, Reboot"},
	},
	"nbp " + string(enrolDisk): {
		10 * time.Minute,
		"It has a disk with MokManager and our certificate in memory, by which a person makes it trust our key, and has not asked for its boot script since.",
		[]string{"a person presses Enter in the box \"Verification failed\", then the keys for a stick: /help/secure-boot"},
	},
	"nbp " + string(keyDisk): {
		5 * time.Minute,
		"It has the disk that writes our key into its firmware, which is in Setup Mode, and has not started anew since.",
		[]string{
			"the node's screen: systemd-boot says there what it wrote, or why not",
			"the firmware's set-up can do the same by hand: farmboot secureboot export, README.txt",
		},
	},
	string(provisioning.StageNBP): {
		time.Minute,
		"It has its network boot program (iPXE), but that never asked for its boot script.",
		[]string{
			"Secure Boot is off in the node's firmware, or [secure-boot] is enabled: with it on, firmware loads iPXE and refuses to start it unsigned",
			"the node's screen: iPXE says there what it waits for",
			"the LAN's DHCP server has an address left for iPXE, and the switch port forwards at once (portfast)",
			"the HTTP port of the appliance is open, and base-host leads to it from the node's LAN",
			"its network card works with iPXE's driver: try the firmware's (farmboot node set MAC --nbp snponly)",
		},
	},
	"ipxe": {
		time.Minute,
		"iPXE runs on it and asked for an address, but never for its boot script.",
		[]string{
			"the LAN's DHCP server has an address left for it: iPXE asks anew, after the firmware",
			"the switch port forwards at once when the network card starts anew (portfast)",
			"the HTTP port of the appliance is open, and base-host leads to it from the node's LAN",
			"the node's screen: iPXE says there what it waits for",
		},
	},
	string(provisioning.StageScript): {
		5 * time.Minute, // a kernel is told of when it has gone out, and lines may be slow
		"It has its boot script, but did not fetch its kernel whole.",
		[]string{
			"the node's screen: the boot script says there what went wrong",
			"base-host leads to the appliance from the node's LAN",
			"the node has memory enough for kernel and initramfs (2 GB)",
		},
	},
	string(provisioning.StageWait): {
		2 * time.Minute, // it asks again after 20 s at most, and is told of every 30 s
		"It waited for its turn to fetch its kernel, and has not asked again.",
		[]string{
			"the node is still on; if not, switch it on, and it boots",
			"the node's screen: the boot script says there what it waits for",
		},
	},
	string(provisioning.StageLoading): {
		stallGap,
		"Its kernel stopped on the way.",
		[]string{
			"cable and switch port of the node",
			"it was not switched off just then",
			"nothing between drops large packets (VPN, VLAN in VLAN)",
		},
	},
	"kernel partial": {
		time.Minute,
		"Its kernel broke off before its end.",
		[]string{
			"cable and switch port of the node",
			"the node has memory enough for kernel and initramfs (2 GB)",
			"it was not switched off just then",
		},
	},
	string(provisioning.StageClaim): {
		time.Minute,
		"It was claimed, but has not asked for its boot script since.",
		[]string{"the node is still on; if not, switch it on, and it boots"},
	},
}

// standingRefusal returns the refusal that events end with. It stands while all that
// follows is DISCOVERs like the one that was refused: they get no answer either, which
// is not told of each time, and not anew in each boot.
func standingRefusal(events []provisioning.Event) (refusal provisioning.Event, ok bool) {
	asking := false // by DISCOVER, and has got nothing since
	for _, e := range events {
		switch e.Stage {
		case provisioning.StageRefused:
			refusal, ok = e, true
		case provisioning.StageDiscover:
			ok, asking = ok && asking, true
		default:
			ok, asking = false, false
		}
	}
	return refusal, ok
}

// refused says that the boot was refused, the last time at that time.
func (s *Story) refused(refusal provisioning.Event, at, now time.Time) {
	ago := human.Ago(now.Sub(at))
	c := refusal.Cause
	if c.ID == provisioning.CauseIgnored {
		s.State, s.Verdict = Ignored, fmt.Sprintf("Ignored, %s ago, as unknown = \"ignore\" in the configuration says; register it to boot it.", ago)
		return
	}
	s.State, s.Cause, s.Unbootable, s.Check = Refused, c, c.Unbootable(), cause.Check(c)
	s.Verdict = fmt.Sprintf("Refused, %s ago: %s.", ago, cause.Detail(refusal))
}

// failGap is how soon after its kernel went out a node that netboots again, and has not
// been up in between, has failed: an operating system that was up for longer may have
// been told to reboot, and whether it asked for an address we may not have seen.
const failGap = 10 * time.Minute

// failed tells whether a boot failed, as the one that came after it shows.
func failed(boot, next []provisioning.Event) bool {
	if len(next) == 0 || slices.ContainsFunc(boot, func(e provisioning.Event) bool { return e.Stage == provisioning.StageUp }) {
		return false
	}
	kernel := kernelOf(boot)
	gap := next[0].At.Sub(kernel.At) // negative: a clock was set back, and there is no telling
	return kernel.Stage != "" && whole(boot, kernel) && gap >= 0 && gap <= failGap
}

// CrashLoop is how many boots in a row must fail to be called a crash loop: one may be a
// person who presses the reset button, and two an impatient one.
const CrashLoop = 3

// loops counts the boots in a row that failed before the last one, all events given, and
// says so where it is a crash loop.
func (s *Story) loops(events []provisioning.Event, now time.Time) {
	boot, _ := lastBoot(events)
	if slices.ContainsFunc(boot, func(e provisioning.Event) bool { return e.Stage == provisioning.StageUp }) {
		return
	}
	var kernel provisioning.Event // of the last that failed
	for next, before := boot, events[:len(events)-len(boot)]; len(before) > 0; {
		boot, _ := lastBoot(before)
		if !failed(boot, next) {
			break
		}
		if s.Loop == 0 {
			kernel = kernelOf(boot)
		}
		s.Loop++
		next, before = boot, before[:len(before)-len(boot)]
	}
	if s.Loop < CrashLoop {
		return
	}
	switch {
	case s.State == Failed && s.Cause.ID == provisioning.CauseNotUp:
		s.Verdict = fmt.Sprintf("Crash loop: %d boots in a row failed, the last %s ago: %s.", s.Loop, human.Ago(now.Sub(kernel.At)), cause.Message(s.Cause))
	case s.State == Started:
		s.Verdict += fmt.Sprintf(" The %d boots before failed: each netbooted again soon after its kernel.", s.Loop)
	}
}

// LoopCheck is what to look at in a crash loop, likeliest first.
func (s Story) LoopCheck() []string {
	return cause.Check(provisioning.Cause{ID: provisioning.CauseNotUp, Kernel: s.Cause.Kernel})
}

// kernelOf is the last event of a boot that tells of its kernel; the zero value if none
// does.
func kernelOf(boot []provisioning.Event) (kernel provisioning.Event) {
	for _, e := range boot {
		if e.Stage == provisioning.StageKernel {
			kernel = e
		}
	}
	return kernel
}

// failed says that a boot failed after its kernel had gone out.
func (s *Story) failed(kernel provisioning.Event, now time.Time) {
	s.Cause = provisioning.Cause{ID: provisioning.CauseNotUp, Kernel: kernel.File}
	s.State, s.Check = Failed, cause.Check(s.Cause)
	s.Verdict = fmt.Sprintf("Failed, %s ago: %s.", human.Ago(now.Sub(kernel.At)), cause.Message(s.Cause))
}

// broke says that the machine refused a link of the chain of Secure Boot, at that time.
func (s *Story) broke(c provisioning.Cause, at, now time.Time) {
	s.State, s.Cause, s.Check = Failed, c, cause.Check(c)
	s.Verdict = fmt.Sprintf("Failed, %s ago: %s.", human.Ago(now.Sub(at)), cause.Detail(provisioning.Event{Cause: c}))
}

// open tells whether a boot may still come to a good end.
func (s *Story) open() bool { return s.State == Booting || s.State == Stalled }

// void are the IDs of claims that were taken back, and of the events that say so.
type void map[int64]bool

func voidOf(events []provisioning.Event) (v void) {
	back := 0 // claims that were taken back, which come before
	for _, e := range slices.Backward(events) {
		switch {
		case e.Cause.ID == provisioning.CauseUnclaimed:
			back++
		case back > 0 && e.Stage == provisioning.StageClaim:
			back--
		default:
			continue
		}
		if v == nil {
			v = void{}
		}
		v[e.ID] = true
	}
	return v
}

// without returns the events that say how a boot stands: a claim that was taken back leaves
// everything as it was.
func (v void) without(events []provisioning.Event) []provisioning.Event {
	if len(v) == 0 {
		return events
	}
	return slices.DeleteFunc(slices.Clone(events), func(e provisioning.Event) bool { return v[e.ID] })
}

// judge says how the boot stands, by its last event.
func (s *Story) judge(boot []provisioning.Event, p phase, now time.Time) {
	last := boot[len(boot)-1]
	ago := human.Ago(now.Sub(last.At))
	switch {
	case last.Stage == provisioning.StageExit:
		why := "as unknown = \"exit\" says; register it to boot it"
		switch last.Cause.ID {
		case provisioning.CauseExitNode:
			why = "as it is registered"
		case provisioning.CauseExitOnce:
			why = "for that boot alone"
		}
		s.State, s.Verdict = Exited, fmt.Sprintf("It was sent on to its next boot device, %s ago, %s.", ago, why)
		return
	case last.Stage == provisioning.StageUp:
		s.State, s.Verdict = Booted, fmt.Sprintf("It is up: its operating system asked the network for an address, %s ago.", ago)
		return
	case last.Stage == provisioning.StageFailed:
		s.State, s.Cause, s.Check = Failed, last.Cause, cause.Check(last.Cause)
		s.Verdict = fmt.Sprintf("Failed, %s ago: %s.", ago, cause.Detail(last))
		return
	case last.Stage == provisioning.StageKernel && whole(boot, last):
		s.State, s.Verdict = Started, fmt.Sprintf("Its kernel went out whole, %s ago. Whether its operating system runs has not been seen yet.", ago)
		return
	}
	at := where(last, p)
	way, known := stalls[at]
	switch quiet := now.Sub(last.At); {
	case known && quiet > way.after:
		s.State, s.Check = Stalled, way.check
		s.Verdict = fmt.Sprintf("Stalled, %s ago: %s", ago, way.stalled)
	case last.Stage == provisioning.StageWait:
		s.State, s.Verdict = Booting, fmt.Sprintf("It %s, %s ago. Many nodes boot at once.", cause.Message(last.Cause), ago)
	case last.Stage == provisioning.StageHold:
		s.State, s.Verdict = Held, fmt.Sprintf("It has been waiting on its screen to be claimed for %s, if it is still on.", ago)
	default:
		s.State, s.Verdict = Booting, fmt.Sprintf("On its way; the last we know of is %s ago.", ago)
	}
}

// where names the stage at which the boot stands.
func where(last provisioning.Event, p phase) string {
	if p == ipxe {
		return "ipxe"
	}
	if l := linkOf(last); l != noLink {
		return "nbp " + string(l)
	}
	if (last.Stage == provisioning.StageNBP || last.Stage == provisioning.StageKernel) && last.Bytes < last.Size {
		return string(last.Stage) + " partial"
	}
	return string(last.Stage)
}

// whole tells whether all of the kernel went out, in one piece or in several
// (HTTP Range).
func whole(boot []provisioning.Event, kernel provisioning.Event) bool {
	var sent int64
	for _, e := range boot {
		if e.Stage == provisioning.StageKernel && e.File == kernel.File {
			sent += e.Bytes
		}
	}
	return sent >= kernel.Size
}

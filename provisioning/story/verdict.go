package story

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/human"
)

// rung is what it means that a boot ended at a stage.
type rung struct {
	patience time.Duration // after which it should have gone on
	stalled  string        // what happened, one sentence
	check    []string      // likeliest first
}

// stallGap is how long nothing may be heard of a transfer that is told of every few
// seconds; a dead client is given up after two minutes, which is told of too.
const stallGap = 3 * time.Minute

// ladder has a rung for every way a boot can stall. It is as good as what we have
// seen go wrong; add to it.
var ladder = map[string]rung{
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
	string(provisioning.StageNBP): {
		time.Minute,
		"It has its network boot program (iPXE), but that never asked for its boot script.",
		[]string{
			"Secure Boot is off in the node's firmware: with it on, firmware loads iPXE and refuses to start it",
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
	ago := human.Duration(max(now.Sub(at), 0))
	if strings.HasPrefix(refusal.Detail, provisioning.Ignored) {
		s.State, s.Verdict = Ignored, fmt.Sprintf("Ignored, %s ago, as unknown = \"ignore\" in the configuration says; register it to boot it.", ago)
		return
	}
	why := obstacleOf(refusal.Detail)
	s.State, s.Check, s.Unbootable, s.NoKernel = Refused, why.check, why.never, why.kernel
	s.Verdict = fmt.Sprintf("Refused, %s ago: %s.", ago, refusal.Detail)
}

// obstacle is why we refused something, and what can be done about it.
type obstacle struct {
	reason string // words of our own message
	check  []string
	never  bool // no registration mends it
	kernel bool // a kernel does
}

// obstacles has the last one for all reasons that are not told apart.
var obstacles = []obstacle{
	{reason: "missing kernel", kernel: true, check: []string{
		"the kernel of its run mode, or its own if it is registered with one, is there: farmboot kernel list",
	}},
	{reason: "Raspberry Pi", never: true, check: []string{
		"UEFI firmware is on its SD card: its own boot ROM says that it is a BIOS PC, and starts nothing of ours",
	}},
	{reason: "client architecture", never: true, check: []string{
		"its firmware boots as BIOS or UEFI on x64, or as UEFI on ARM64 or RISC-V: for others there is no boot program",
	}},
	{reason: "TFTP, which is switched off", check: []string{
		"its firmware boots by HTTP (UEFI HTTP Boot), or [tftp] enabled is true",
	}},
	{reason: "reply is larger", check: []string{
		"base-host is short enough: the address of its boot script has to fit into one packet",
	}},
	{reason: "by TFTP", check: []string{
		"no other DHCP server (a router with options 66 and 67) names a boot file of its own",
	}},
	{check: []string{"farmboot node check MAC: it says what is wrong with what it would get"}},
}

// obstacleOf finds the obstacle that a reason of ours speaks of.
func obstacleOf(reason string) obstacle {
	return obstacles[slices.IndexFunc(obstacles, func(o obstacle) bool { return strings.Contains(reason, o.reason) })]
}

// judge says how the boot stands, by its last event that tells.
func (s *Story) judge(boot []provisioning.Event, p phase, now time.Time) {
	last := boot[len(boot)-1]
	ago := human.Duration(max(now.Sub(last.At), 0))
	switch {
	case last.Stage == provisioning.StageExit:
		s.State, s.Verdict = Exited, fmt.Sprintf("It was sent on to its next boot device, %s ago, as unknown = \"exit\" says; register it to boot it.", ago)
		return
	case last.Stage == provisioning.StageKernel && whole(boot, last):
		s.State, s.Verdict = Booted, fmt.Sprintf("Its kernel went out whole, %s ago. From there on the node is on its own.", ago)
		return
	}
	at := where(last, p)
	rung, known := ladder[at]
	switch quiet := now.Sub(last.At); {
	case known && quiet > rung.patience:
		s.State, s.Check = Stalled, rung.check
		s.Verdict = fmt.Sprintf("Stalled, %s ago: %s", ago, rung.stalled)
	case last.Stage == provisioning.StageHold:
		s.State, s.Verdict = Held, fmt.Sprintf("It has been waiting on its screen to be claimed for %s, if it is still on.", ago)
	default:
		s.State, s.Verdict = Booting, fmt.Sprintf("On its way; the last we know of is %s ago.", ago)
	}
}

// where names the rung of the ladder on which the boot stands.
func where(last provisioning.Event, p phase) string {
	if p == ipxe {
		return "ipxe"
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
		if e.Stage == provisioning.StageKernel && e.Detail == kernel.Detail {
			sent += e.Bytes
		}
	}
	return sent >= kernel.Size
}

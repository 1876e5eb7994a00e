package ipxe

import (
	"bytes"
	"strings"
	"sync"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
)

// Scripts remembers the scripts of nodes that boot: a farm has few but for the MAC address,
// the name and the farmer in them. It may be used concurrently; nil remembers nothing.
type Scripts struct {
	mu   sync.Mutex
	made *lru.Map[nodeScript, []scriptPart]
}

// nodeScript is all that a node's script depends on, but for what fills its gaps.
type nodeScript struct {
	base, ntp, kernelArgs, pretty string
	target                        Target // of no farmer
	digits                        int    // of the farmer's id, for a command line has a longest length; 0: there is none
	registered, candidate, named  bool
}

// scriptPart is what stands in a script before a gap, and which one that is; 0: the end.
type scriptPart struct {
	text []byte
	gap  byte
}

// scriptsKept is how many, of some 4 KB each.
const scriptsKept = 64

// NewScripts returns Scripts that remember none yet.
func NewScripts() *Scripts {
	return &Scripts{made: lru.New[nodeScript, []scriptPart](scriptsKept)}
}

func (s *Scripts) get(k nodeScript) (parts []scriptPart, ok bool) {
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made.Get(k)
}

func (s *Scripts) put(k nodeScript, parts []scriptPart) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made.Put(k, parts)
}

// The gaps, where a script shows its node, are control characters: nothing else in a script
// is one.
const (
	macGap    = "\x01"
	nameGap   = "\x02"
	farmerGap = "\x03"
)

// node returns the script that boots a node; or why it cannot be booted: the error is that
// of [Composer.Bootable].
func (s Site) node(a provisioning.Assignment, kernels Kernels) ([]byte, error) {
	target, name, farmer := NodeTarget(a.Node), say(a.Node.Name), farmerText(a.Node.Farmer)
	if err := s.RunModes.Check(target.RunMode); err != nil {
		return nil, err
	}
	key := nodeScript{s.Base, s.NTP, s.KernelArgs, s.RunModes[target.RunMode], target, len(farmer), a.Registered, a.Candidate, name != ""}
	key.target.Farmer = 0
	parts, ok := s.Scripts.get(key)
	if ok {
		if _, err := kernels.Stat(target.KernelPath()); err != nil {
			return nil, err
		}
	} else {
		line, err := s.Bootable(target, kernels)
		if err != nil {
			return nil, err
		}
		v := s.view(target, line)
		v.MAC, v.Card, v.Registered = macGap, macGap, a.Registered
		if name != "" {
			v.Name = nameGap
		}
		if farmer != "" { // no other part of the line may hold its key
			v.Farmer, v.Cmdline = farmerGap, strings.Replace(line, " farmer_id="+farmer, " farmer_id="+farmerGap, 1)
		}
		if a.Candidate {
			v.Candidate = a.Node.Kernel
		}
		script, err := render("node.ipxe", v)
		if err != nil {
			return nil, err
		}
		parts = cutAtGaps(script)
		s.Scripts.put(key, parts)
	}
	return fillGaps(parts, a.Node.MAC.String(), name, farmer), nil
}

func cutAtGaps(script []byte) (parts []scriptPart) {
	for {
		i := bytes.IndexAny(script, macGap+nameGap+farmerGap)
		if i < 0 {
			return append(parts, scriptPart{text: script})
		}
		parts = append(parts, scriptPart{script[:i], script[i]})
		script = script[i+1:]
	}
}

func fillGaps(parts []scriptPart, mac, name, farmer string) []byte {
	fill := func(gap byte) string {
		switch gap {
		case macGap[0]:
			return mac
		case nameGap[0]:
			return name
		case farmerGap[0]:
			return farmer
		}
		return ""
	}
	size := 0
	for _, p := range parts {
		size += len(p.text) + len(fill(p.gap))
	}
	script := make([]byte, 0, size)
	for _, p := range parts {
		script = append(append(script, p.text...), fill(p.gap)...)
	}
	return script
}

package ipxe

import (
	"bytes"
	"sync"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
)

// Scripts remembers the scripts of nodes that boot: a farm has few but for the MAC address
// and the name in them. It may be used concurrently; nil remembers nothing.
type Scripts struct {
	mu   sync.Mutex
	made *lru.Map[nodeScript, [][]byte] // what stands before, between and behind the gaps for the MAC address
}

// nodeScript is all that a node's script depends on, but for the node that it shows.
type nodeScript struct {
	base, ntp, kernelArgs, pretty string
	target                        Target
	registered, candidate, named  bool
}

// scriptsKept is how many, of some 4 KB each.
const scriptsKept = 64

// NewScripts returns Scripts that remember none yet.
func NewScripts() *Scripts {
	return &Scripts{made: lru.New[nodeScript, [][]byte](scriptsKept)}
}

func (s *Scripts) get(k nodeScript) (parts [][]byte, ok bool) {
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made.Get(k)
}

func (s *Scripts) put(k nodeScript, parts [][]byte) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made.Put(k, parts)
}

// The gaps, where a script shows its node, have control characters in them: nothing else
// in a script has.
const (
	macGap  = "\x00mac\x00"
	nameGap = "\x00name\x00"
)

// node returns the script that boots a node; or why it cannot be booted: the error is that
// of [Composer.Bootable].
func (s Site) node(a provisioning.Assignment, kernels Kernels) ([]byte, error) {
	target, name := NodeTarget(a.Node), say(a.Node.Name)
	if err := s.RunModes.Check(target.RunMode); err != nil {
		return nil, err
	}
	key := nodeScript{s.Base, s.NTP, s.KernelArgs, s.RunModes[target.RunMode], target, a.Registered, a.Candidate, name != ""}
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
		if a.Candidate {
			v.Candidate = a.Node.Kernel
		}
		script, err := render("node.ipxe", v)
		if err != nil {
			return nil, err
		}
		parts = bytes.Split(script, []byte(macGap))
		s.Scripts.put(key, parts)
	}
	script := bytes.Join(parts, []byte(a.Node.MAC.String()))
	if name != "" {
		script = bytes.ReplaceAll(script, []byte(nameGap), []byte(name))
	}
	return script, nil
}

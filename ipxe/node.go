package ipxe

import (
	"bytes"
	"sync"

	"farmboot/provisioning/lru"
)

// nodeScripts are the scripts of nodes that boot, rendered before: a farm has few but for
// the MAC address and the name in them.
var nodeScripts = scripts{made: lru.New[view, []byte](scriptsKept)}

// scriptsKept is how many, of some 4 KB each.
const scriptsKept = 64

// scripts remembers scripts by what they show.
type scripts struct {
	mu   sync.Mutex
	made *lru.Map[view, []byte] // with the gaps
}

// The gaps, where a script shows its node, have control characters in them: nothing else
// in a script has.
const (
	macGap  = "\x00mac\x00"
	nameGap = "\x00name\x00"
)

// render returns the script node.ipxe of v.
func (s *scripts) render(v view) ([]byte, error) {
	mac, name := v.MAC, v.Name
	v.MAC, v.Card = macGap, macGap
	if name != "" {
		v.Name = nameGap
	}
	s.mu.Lock()
	script, ok := s.made.Get(v)
	s.mu.Unlock()
	if !ok {
		var err error
		if script, err = render("node.ipxe", v); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.made.Put(v, script)
		s.mu.Unlock()
	}
	script = bytes.ReplaceAll(script, []byte(macGap), []byte(mac))
	if name != "" {
		script = bytes.ReplaceAll(script, []byte(nameGap), []byte(name))
	}
	return script, nil
}

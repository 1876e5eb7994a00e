package ipxe

import (
	"bytes"
	"sync"

	"farmboot/provisioning/lru"
)

// Scripts remembers the scripts of nodes that boot: a farm has few but for the MAC address
// and the name in them. It may be used concurrently.
type Scripts struct {
	mu   sync.Mutex
	made *lru.Map[view, []byte] // with the gaps
}

// scriptsKept is how many, of some 4 KB each.
const scriptsKept = 64

// NewScripts returns Scripts that remember none yet.
func NewScripts() *Scripts { return &Scripts{made: lru.New[view, []byte](scriptsKept)} }

// The gaps, where a script shows its node, have control characters in them: nothing else
// in a script has.
const (
	macGap  = "\x00mac\x00"
	nameGap = "\x00name\x00"
)

// render returns the script node.ipxe of v.
func (s *Scripts) render(v view) ([]byte, error) {
	if s == nil {
		return render("node.ipxe", v)
	}
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

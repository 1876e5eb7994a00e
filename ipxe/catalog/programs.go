package catalog

import (
	"sync"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/image"
)

// programs remembers network boot programs with their scripts inside: a farm that is
// switched on fetches the same one from the same address a thousand times.
type programs struct {
	mu       sync.Mutex
	template *binary.Template // that they were made of
	made     map[program]File
}

// program is what a program depends on beside the template.
type program struct {
	name   string
	layout image.Layout
	base   string // URL in the script
}

// maxPrograms is more than there are names and addresses of ours.
const maxPrograms = 64

// of returns the program, composed if it is not remembered.
func (p *programs) of(template *binary.Template, which program, compose func() (File, error)) (File, error) {
	p.mu.Lock()
	if p.template != template || len(p.made) >= maxPrograms {
		p.template, p.made = template, map[program]File{} // those that are asked for come back
	}
	f, ok := p.made[which]
	p.mu.Unlock()
	if ok {
		return f, nil
	}
	f, err := compose() // by several at once, if need be: nobody waits for another
	if err != nil {
		return File{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.template == template {
		p.made[which] = f
	}
	return f, nil
}

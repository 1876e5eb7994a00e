package ipxe

import (
	"io/fs"

	"farmboot/provisioning"
)

// Kernels tells which kernels there are: a [kernel.Store].
type Kernels interface {
	// Stat returns an error with a cause for a kernel that cannot be booted.
	Stat(path string) (fs.FileInfo, error)
}

// Bootable returns the kernel command line of t, whose kernel is there; or why it cannot
// be booted: the error is that of [Composer.Cmdline], or of [Kernels].
func (c Composer) Bootable(t Target, kernels Kernels) (string, error) {
	line, err := c.Cmdline(t)
	if err == nil {
		_, err = kernels.Stat(t.KernelPath())
	}
	return line, err
}

// Answer is what a node gets that asks for its boot script.
type Answer struct {
	Script  []byte             // nil: nothing is sent to it
	Event   provisioning.Event // stage and cause or detail, to be recorded
	Refusal error              // why it does not boot what it should; nil: it does, waits, or is sent on
}

// Answer decides what a node gets to which a was assigned. The error is ours: a refusal
// is an answer.
func (s Site) Answer(a provisioning.Assignment, kernels Kernels) (Answer, error) {
	mac := a.Node.MAC
	switch a.Policy {
	case provisioning.Ignore:
		c := provisioning.Cause{ID: provisioning.CauseIgnored}
		return Answer{
			Event: event(provisioning.StageRefused, c),
			Refusal: &provisioning.Error{
				Code: provisioning.NotFound, Cause: c,
				Message: mac.String() + " is not registered, and unregistered machines are ignored here",
			},
		}, nil
	case provisioning.Exit:
		script, err := s.Exit(a)
		return Answer{Script: script, Event: event(provisioning.StageExit, provisioning.Cause{ID: whyExit(a)})}, err
	case provisioning.Hold:
		script, err := s.Hold(mac, a.Code)
		return Answer{Script: script, Event: event(provisioning.StageHold, provisioning.Cause{ID: provisioning.CauseHeld, Note: a.Code})}, err
	}
	script, err := s.node(a, kernels)
	if provisioning.ErrorCode(err) == provisioning.Internal {
		return Answer{}, err
	}
	if err != nil {
		script, failed := s.Refused(a.Node, err.Error())
		return Answer{Script: script, Event: event(provisioning.StageRefused, provisioning.CauseOf(err)), Refusal: err}, failed
	}
	return Answer{Script: script, Event: provisioning.Event{Stage: provisioning.StageScript, Detail: whatBoots(a)}}, nil
}

func event(stage provisioning.Stage, c provisioning.Cause) provisioning.Event {
	return provisioning.Event{Stage: stage, Cause: c}
}

// whyExit says why a node boots nothing from here.
func whyExit(a provisioning.Assignment) provisioning.CauseID {
	switch {
	case !a.Registered:
		return provisioning.CauseExit
	case a.Once:
		return provisioning.CauseExitOnce
	default:
		return provisioning.CauseExitNode
	}
}

// whatBoots says in a few words what a node boots.
func whatBoots(a provisioning.Assignment) string {
	d := "runmode " + string(a.Node.RunMode)
	if a.Node.Farmer != 0 {
		d += ", farmer " + a.Node.Farmer.String()
	}
	if a.Once {
		d += ", kernel " + a.Node.Kernel + " for this boot alone"
	}
	if a.Candidate {
		d += ", candidate " + a.Node.Kernel
	}
	if !a.Registered {
		d += " (the default: not registered)"
	}
	return d
}

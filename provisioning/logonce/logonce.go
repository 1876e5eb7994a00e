// Package logonce logs a fault that lasts once, and its end.
package logonce

import (
	"context"
	"log/slog"
	"reflect"
	"syscall"

	"farmboot/provisioning"
)

// Series is what becomes of one task that is tried again and again. The fault that begins a
// series is logged, and each that comes to it, but not every try. Faults are told apart by the
// types of their innermost errors, or by error numbers, never by their words. It is for
// one goroutine.
type Series struct {
	Log   *slog.Logger
	Level slog.Level // of faults
	Fault string     // the line for a fault
	End   string     // the line for the end of the series; "": the task says so itself

	told map[any]int // how many of each have been logged at once
}

// Report takes what a try has returned.
func (s *Series) Report(err error) {
	if err == nil {
		if s.told != nil && s.End != "" {
			s.Log.Info(s.End)
		}
		s.told = nil
		return
	}
	found := map[any]int{}
	count(found, err)
	news := false
	for kind, n := range found {
		if n > s.told[kind] {
			if s.told == nil {
				s.told = map[any]int{}
			}
			s.told[kind], news = n, true
		}
	}
	if news {
		s.Log.Log(context.Background(), s.Level, s.Fault, "err", provisioning.Detail(err))
	}
}

// count adds the innermost errors of err to found.
func count(found map[any]int, err error) {
	switch e := err.(type) {
	case syscall.Errno:
		found[e]++
		return
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			count(found, inner)
		}
		return
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			count(found, inner)
			return
		}
	}
	found[reflect.TypeOf(err)]++
}

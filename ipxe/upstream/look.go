package upstream

import (
	"errors"
	"io/fs"
	"maps"
	"sync"
	"syscall"
	"time"

	"farmboot/provisioning"
)

// Look is how it went to look for new kernels.
type Look struct {
	// Answered: the service answered one question at least, be it that it has no kernel.
	Answered bool
	// Failed are the kernels that could not be taken at the last look, "NAME" or
	// "net/R.efi".
	Failed map[string]Failure
	// Silent is how many looks in a row the service has not answered, or only with refusals
	// such as status 503; Since is the time of the first of them. Refuses: at the last one it
	// did answer.
	Silent  int
	Since   time.Time
	Refuses bool
	// Asked is since when the look that goes on has had no answer; zero: it has had one, or
	// none goes on. A service that drops what it gets holds a look up for minutes.
	Asked time.Time
}

// notGiven is why the service gave nothing of a kernel.
type notGiven struct{ error }

func (e notGiven) Unwrap() error { return e.error }

// soon tells whether to ask again soon: the service gave nothing, for a reason that may go away by
// itself. What else fails costs a download each time.
func (l Look) soon() bool {
	for _, f := range l.Failed {
		if _, ok := errors.AsType[notGiven](f.Err); ok && !Refused(f.Err) {
			return true
		}
	}
	return false
}

// Failure is why a kernel could not be taken, how many looks in a row it has not been, and the
// time of the first of them.
type Failure struct {
	Err   error
	Times int
	Since time.Time
}

// looked is the last look.
type looked struct {
	sync.Mutex
	last  Look
	asked time.Time // see [Look]
	heard bool      // the look that goes on has had an answer
}

// ask notes that a look begins.
func (l *looked) ask(now time.Time) {
	l.Lock()
	defer l.Unlock()
	l.asked, l.heard = now, false
}

// hear notes an answer, be it a refusal.
func (l *looked) hear() {
	l.Lock()
	defer l.Unlock()
	l.asked, l.heard = time.Time{}, true
}

// end notes that the look has ended.
func (l *looked) end() {
	l.Lock()
	defer l.Unlock()
	l.asked = time.Time{}
}

// note remembers how a look went.
func (u *Upstream) note(l Look) {
	u.looked.Lock()
	defer u.looked.Unlock()
	for rel, f := range l.Failed {
		before, again := u.looked.last.Failed[rel]
		if f.Times, f.Since = before.Times+1, before.Since; !again {
			f.Since = u.Now()
		}
		l.Failed[rel] = f
	}
	if !l.Answered {
		l.Refuses = u.looked.heard
		l.Silent, l.Since = u.looked.last.Silent+1, u.looked.last.Since
		if l.Silent == 1 {
			l.Since = u.Now()
		}
	}
	u.looked.last = l
}

// LastLook tells how the last look for new kernels went; the zero value before the first, but for
// Asked.
func (u *Upstream) LastLook() Look {
	u.looked.Lock()
	defer u.looked.Unlock()
	l := u.looked.last
	l.Asked = u.looked.asked
	l.Failed = maps.Clone(l.Failed)
	return l
}

// Refused tells whether a kernel was not taken for a reason that does not go away by
// itself: it is not what it ought to be, or cannot be stored here. Else the service did
// not answer, or broke off.
func Refused(err error) bool {
	return provisioning.ErrorCode(err) == provisioning.Invalid || errors.Is(err, errPage) || unstored(err)
}

// unstored tells whether the reason is our own disk.
func unstored(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// Cure says what a person can do about a kernel that was refused, likeliest first.
func (u *Upstream) Cure(rel string, err error) []string {
	switch {
	case unstored(err):
		return []string{"the disk of " + u.Store.Folder() + ": is it full, or read-only? df says so; farmboot kernel rm KERNEL removes a kernel that nothing boots"}
	case errors.Is(err, errUnsigned):
		return []string{
			"who makes the kernel: has it been signed (" + u.url(rel) + ".minisig), by the key that [kernel] trust names?",
			"if nobody you know replaced it, look at who can write to " + u.base.Redacted(),
		}
	}
	return []string{
		"what is at " + u.url(rel) + ": is it the whole kernel, and its .sha256 the right one?",
		"farmboot kernel sync, once it is mended",
	}
}

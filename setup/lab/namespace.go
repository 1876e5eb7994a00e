package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that lives as long as one thread of this
// process: it has no name in /run/netns and leaves nothing behind.
type Namespace struct {
	work chan func()   // run in the namespace's thread, one at a time
	done chan struct{} // closed when the thread ends
	path string        // for ip(8) to move interfaces into it
}

// newNamespace starts the thread. Close ends it.
func newNamespace() (*Namespace, error) {
	n := &Namespace{work: make(chan func()), done: make(chan struct{})}
	started := make(chan error)
	go n.live(started)
	if err := <-started; err != nil {
		return nil, err
	}
	if err := n.ip("link set lo up"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// live is the thread. It never unlocks it, so that the thread ends with the
// function and takes namespace and processes (Pdeathsig) with it.
func (n *Namespace) live(started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The main thread cannot end before the process: leave it to others.
		// It stays locked, and so occupied, until another has been found.
		found := make(chan error)
		go n.live(found)
		err := <-found
		runtime.UnlockOSThread()
		started <- err
		return
	}
	defer close(n.done)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = errors.New("not permitted: the virtual LAN needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")
		}
		started <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	started <- nil
	for f := range n.work {
		f()
	}
}

// Do runs f in the namespace: sockets that f opens, and processes that it
// starts, belong to it for good. f must not call Do again.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	n.work <- func() { result <- f() }
	return <-result
}

// Close ends the thread and, once its processes are gone, the namespace with
// all its interfaces. Nothing may use the namespace any more.
func (n *Namespace) Close() {
	close(n.work)
	<-n.done
}

// ip runs ip(8) commands in the namespace, in order, up to the first that fails.
func (n *Namespace) ip(commands ...string) error {
	_, err := n.ipSays(commands...)
	return err
}

// ipSays is ip, and returns what the commands print, in all detail.
func (n *Namespace) ipSays(commands ...string) (out string, err error) {
	err = n.Do(func() error {
		ip, err := Tool("ip")
		if err != nil {
			return err
		}
		cmd := exec.Command(ip, "-details", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
		b, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip -batch (%s): %w: %s", strings.Join(commands, "; "), err, bytes.TrimSpace(b))
		}
		out = string(b)
		return nil
	})
	return out, err
}

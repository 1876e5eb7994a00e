package lab

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFrame holds the largest Ethernet frame of a 1500-byte MTU, with a VLAN tag.
const maxFrame = 1522

// cable joins two namespaces by a pair of TAP interfaces and loses some of what
// it carries. It is ours, and not tc-netem(8), because many kernels come without
// that module; and because a seeded cable loses the same frames of the same
// traffic each time.
type cable struct {
	ends [2]io.ReadWriteCloser
	done sync.WaitGroup
}

// plug makes the interfaces aName in namespace a and bName in b and starts to
// carry frames between them, losing the fraction loss (0…1) of each direction.
func plug(a *Namespace, aName string, b *Namespace, bName string, loss float64) (*cable, error) {
	ea, err := openTap(a, aName)
	if err != nil {
		return nil, err
	}
	eb, err := openTap(b, bName)
	if err != nil {
		return nil, errors.Join(err, ea.Close())
	}
	c := &cable{ends: [2]io.ReadWriteCloser{ea, eb}}
	c.done.Go(func() { carry(eb, ea, loss, 1) })
	c.done.Go(func() { carry(ea, eb, loss, 2) })
	return c, nil
}

// carry copies frames until its source is closed.
func carry(to io.Writer, from io.Reader, loss float64, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, seed))
	frame := make([]byte, maxFrame)
	for {
		n, err := from.Read(frame)
		if err != nil {
			return
		}
		if dice.Float64() < loss {
			continue
		}
		// A full or unready queue loses the frame too, as on any wire.
		_, _ = to.Write(frame[:n])
	}
}

// unplug ends the cable; its interfaces vanish.
func (c *cable) unplug() error {
	err := errors.Join(c.ends[0].Close(), c.ends[1].Close())
	c.done.Wait()
	return err
}

// openTap makes a TAP interface in the namespace; it lives until it is closed.
func openTap(n *Namespace, name string) (*os.File, error) {
	var file *os.File
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make TAP interface %s: %w", name, err), unix.Close(fd))
		}
		// Only now is it pollable, which is what lets Close end a Read.
		file = os.NewFile(uintptr(fd), name)
		return nil
	})
	return file, err
}

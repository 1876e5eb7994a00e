package dhcp_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of its own: a thread that has left the
// machine's network. Sockets that are opened in it stay in it.
type namespace struct {
	t    *testing.T
	tid  int
	work chan func()
}

// newNamespace makes one for the length of a test. It needs root.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	ns := &namespace{t: t, work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		ns.tid = unix.Gettid()
		ready <- err
		for f := range ns.work {
			f()
		}
	}()
	t.Cleanup(func() { close(ns.work) })
	if err := <-ready; err != nil {
		t.Fatalf("make a network namespace (this test needs root): %v", err)
	}
	return ns
}

// do runs f in the namespace.
func (ns *namespace) do(f func()) {
	done := make(chan struct{})
	ns.work <- func() { defer close(done); f() }
	<-done
}

// ip runs the ip command in the namespace.
func (ns *namespace) ip(args string) string {
	ns.t.Helper()
	var out []byte
	var err error
	ns.do(func() { out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput() })
	if err != nil {
		ns.t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// up waits until a device that has been switched on really sends: the kernel
// notices the carrier of a new cable some time later, and drops until then.
func (ns *namespace) up(device string) {
	ns.t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if s := ns.ip("link show " + device); strings.Contains(s, "state UP") && strings.Contains(s, "qdisc noqueue") {
			return
		}
	}
	ns.t.Fatalf("%s does not come up", device)
}

// newLAN is a cable with our server at one end (interface lan0, 192.0.2.1, which
// is not its first address) and a machine at the other (eth0, 192.0.2.100).
func newLAN(t *testing.T) (server, machine *namespace) {
	t.Helper()
	server, machine = newNamespace(t), newNamespace(t)
	server.ip("link add lan0 type veth peer name eth0 netns " + strconv.Itoa(machine.tid))
	for _, a := range []string{"192.0.2.9/24", "192.0.2.1/24"} {
		server.ip("addr add " + a + " dev lan0")
	}
	machine.ip("addr add 192.0.2.100/24 dev eth0")
	for ns, device := range map[*namespace]string{server: "lan0", machine: "eth0"} {
		ns.do(func() {
			// No neighbour discovery packets or checksum work in the way.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/disable_ipv6", []byte("1"), 0)
		})
		ns.ip("link set " + device + " up")
	}
	server.up("lan0")
	machine.up("eth0")
	machine.ip("route add default dev eth0") // lets it broadcast; our side has no such route
	return server, machine
}

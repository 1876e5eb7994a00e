package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end by itself when it was asked
// to. Nothing waits for it on a good day.
const stopGrace = 15 * time.Second

// Process is a running program, in a namespace, with its output kept.
type Process struct {
	*Console // its standard output and error
	name     string
	cmd      *exec.Cmd
	log      *os.File
	done     chan struct{}
	err      error // of Wait; read after done
}

// start runs a program in the namespace; its output goes to the file log and
// the Process's Console. The program dies with the namespace.
func (n *Namespace) start(log, program string, args ...string) (*Process, error) {
	path, err := Tool(program)
	if err != nil {
		return nil, err
	}
	// A restarted program goes on in the same log.
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // the terminal's Ctrl-C is for us: we end the rest in order
		Pdeathsig: syscall.SIGKILL,
	}
	cmd.WaitDelay = stopGrace // should children keep the output open
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), file.Close())
	}
	p := &Process{Console: newConsole(file, in), name: program, cmd: cmd, log: file, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Console, p.Console // equal: one pipe, written in order
	if err := n.Do(cmd.Start); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), file.Close())
	}
	go func() {
		p.err = errors.Join(cmd.Wait(), file.Close())
		p.end()
		close(p.done)
	}()
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and all its output was read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the process to end by itself and returns how it did: nil, or
// an *exec.ExitError.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.name, context.Cause(ctx))
	}
}

// Kill ends the process and its children at once, as a power cut would
// (SIGKILL), and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // its id may be another's by now
	default:
	}
	// The only error is that it has ended just now.
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end (SIGTERM) and returns how it did. One that does
// not is killed, which is an error.
func (p *Process) Stop() error {
	// The only error is that it has ended already, which Wait tells.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	err := p.Wait(ctx)
	p.Kill()
	return err
}

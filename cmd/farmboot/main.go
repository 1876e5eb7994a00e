// Command farmboot is a netboot appliance: it answers machines that boot from the
// network beside the LAN's own DHCP server, hands them iPXE and a boot script, and
// composes boot images on demand. See "farmboot --help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean stop; after it a second one ends us at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now}))
}

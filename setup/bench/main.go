// Command bench measures the appliance beside the programs that a site would run
// in its place: nginx for downloads, dnsmasq for DHCP and TFTP.
//
// Everything runs on a virtual LAN (setup/lab), each server on a host of its own
// with its real ports, so it needs root and disturbs nobody. Farmboot and the other
// program take turns, round by round, so that what else the machine does meets
// both; the table shows medians. Nothing is judged but said: a slow machine fails
// no benchmark.
//
//	make bench            everything, in some twelve minutes
//	make bench ONLY=tftp  one section
//
// Given another farmboot with -beside, it measures that in place of the others: what
// a change has brought.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// section measures one thing and adds rows to the report.
type section struct {
	name string
	run  func(context.Context, *site, *report) error
}

// sections in the order in which a node meets them; the million nodes come last.
func sections() []section {
	return []section{
		{"functions", benchFunctions},
		{"images", benchImages},
		{"downloads", benchDownloads},
		{"scripts", benchScripts},
		{"storm", benchStorm},
		{"memory", benchMemory},
		{"dhcp", benchDHCP},
		{"tftp", benchTFTP},
		{"boots", benchBoots},
		{"start", benchStart},
		{"provisioning", benchProvisioning},
		{"postgres", benchPostgres},
	}
}

// limit ends a run that hangs.
const limit = 20 * time.Minute

func main() {
	program := flag.String("farmboot", "bin/farmboot", "the program to measure")
	template := flag.String("template", "/opt/ipxe-template", "folder with the iPXE binaries")
	beside := flag.String("beside", "", "another farmboot to compare with, in place of nginx and dnsmasq")
	only := flag.String("only", "", "measure only these sections, separated by commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, programs{*program, *beside}, *template, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the sections named by only, or all.
func run(ctx context.Context, p programs, template, only string) (err error) {
	s, err := openSite(p, template)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	rep := newReport(os.Stdout)
	for _, part := range sections() {
		if only != "" && !slices.Contains(strings.Split(only, ","), part.name) {
			continue
		}
		rep.section(part.name)
		if err := part.run(ctx, s, rep); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := s.stopAll(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return rep.finish()
}

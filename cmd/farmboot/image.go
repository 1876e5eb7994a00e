package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/provisioning"
	"farmboot/setup/lan"
)

type imageCmd struct {
	Kind    string               `arg:"" help:"${kinds}."`
	RunMode provisioning.RunMode `arg:"" optional:"" name:"runmode" help:"Run mode: the grid network, prod for instance."`
	Farmer  string               `arg:"" optional:"" help:"Farmer id, 1 to 4294967295."`
	Args    string               `arg:"" optional:"" help:"Extra kernel arguments, as one word of the shell; empty: none." empty:""`

	Output fileName `short:"o" placeholder:"FILE" help:"File to write, which must be named; - for standard output."`
	Force  bool     `short:"f" help:"Replace FILE if it exists."`
	Kernel string   `placeholder:"NAME" help:"Kernel file; by default the run mode's." type:"kernel"`
	Arch   string   `placeholder:"ARCH" help:"amd64, arm64 or riscv64, for uefi, uefi-generic and uefi-provision."`
	Scheme string   `placeholder:"SCHEME" help:"How the image fetches: http or https; by default what base-host says."`
}

// Help implements [kong.HelpProvider].
func (imageCmd) Help() string {
	return `The bytes are those that the daemon serves at /KIND/RUNMODE/FARMER/ARGS/KERNEL.

Examples:
  farmboot image usb prod 1234 -o farm.img       a stick that works everywhere
  farmboot image iso test 1234 "zos-debug console=ttyS0" -o debug.iso
  farmboot image uefi-provision -o boot.efi      asks this appliance what to boot`
}

// Run composes the image and writes it.
func (c imageCmd) Run(ctx context.Context, e *env) error {
	order, err := c.order()
	if err != nil {
		return err
	}
	if c.Output == "" {
		return usageError{"image: name the file to write with -o FILE; - is standard output"}
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if c.RunMode != "" && !order.Kind.NeedsTarget() {
		if err := cfg.RunModes.Check(c.RunMode); err != nil {
			return err
		}
		fmt.Fprintf(e.stderr, "note: image %s is the same for every run mode\n", order.Kind)
	}
	if err := e.beside(ctx, cfg); err != nil {
		return err
	}
	network, err := lan.Look(cfg)
	if err != nil {
		return err
	}
	if len(network.LANs) == 0 && cfg.BaseHost == nil {
		return fmt.Errorf("image has to name our address: %s", strings.Join(network.Missing, "; "))
	}
	sources, err := openSources(cfg, func() *lan.View { return network }, slog.New(slog.DiscardHandler), e.now)
	if err != nil {
		return err
	}
	f, err := sources.catalog.Image(order)
	if err != nil {
		return err
	}
	if order.Kind.NeedsTarget() {
		for _, warning := range cfg.Composer().Warnings(order.Target) {
			fmt.Fprintf(e.stderr, "farmboot: warning: %s\n", warning)
		}
	}
	if cfg.BaseHost == nil && order.Kind != image.GenericKernel && order.Kind != image.GenericUEFI {
		fmt.Fprintf(e.stderr, "note: it fetches from %s, an address of this network: for farmers elsewhere set base-host first\n", sources.site(netip.Addr{}, c.Scheme).Base)
	}
	if c.Output == "-" {
		_, err := f.Content.WriteTo(e.stdout)
		return err
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	bar := newProgress(e.stderr, e.now)
	err = writeFile(string(c.Output), 0o644, c.Force, func(w io.Writer) error {
		_, err := f.Content.WriteTo(io.MultiWriter(w, bar.of(f.Content.Size())))
		return err
	})
	bar.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stderr, "wrote %s: %d bytes, SHA-256 %x\n", printable(string(c.Output)), f.Content.Size(), f.Content.SHA256())
	return err
}

// order reads the arguments as a URL's are read.
func (c imageCmd) order() (catalog.Order, error) {
	kind, err := image.ParseKind(c.Kind)
	if err != nil {
		return catalog.Order{}, usageError{err.Error()}
	}
	o := catalog.Order{Kind: kind, Options: image.Options{Arch: image.Arch(c.Arch)}, Scheme: c.Scheme}
	if !kind.NeedsTarget() {
		if c.Farmer != "" || c.Args != "" || c.Kernel != "" {
			return o, usageError{fmt.Sprintf("image %s takes no farmer, arguments or kernel: it asks the appliance what to boot", kind)}
		}
		return o, nil
	}
	if c.RunMode == "" {
		return o, usageError{fmt.Sprintf("image %s needs a run mode, as in: farmboot image %[1]s prod 1234 -o FILE", kind)}
	}
	o.Target = ipxe.Target{RunMode: c.RunMode, Args: c.Args, Kernel: c.Kernel}
	if c.Farmer != "" {
		if o.Target.Farmer, err = provisioning.ParseFarmerID(c.Farmer); err != nil {
			return o, err
		}
	}
	return o, nil
}

// mayWrite refuses a file that exists, unless it is to be replaced; anything but a
// file, a device above all, is never written to.
func (c imageCmd) mayWrite() error {
	switch fi, err := os.Lstat(string(c.Output)); {
	case err != nil:
		return nil // it is not there, or writing it will say better what is wrong
	case !fi.Mode().IsRegular():
		return provisioning.Errorf(provisioning.Conflict, "%s is not an ordinary file: write the image to one, and that to the stick with dd", c.Output)
	case !c.Force:
		return provisioning.Errorf(provisioning.Conflict, "%s exists: give --force to replace it", c.Output)
	}
	return nil
}

// vars are what help texts name.
func vars() kong.Vars {
	return kong.Vars{"kinds": "One of " + image.KindList(), "version": versionLine()}
}

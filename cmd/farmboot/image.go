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
	"farmboot/setup"
	"farmboot/setup/lan"
)

type imageCmd struct {
	Kind    string               `arg:"" help:"${kinds}."`
	RunMode provisioning.RunMode `arg:"" optional:"" name:"runmode" help:"Run mode: prod, test, …"`
	Farmer  string               `arg:"" optional:"" help:"Farmer id, 1 to 4294967295."`
	Args    string               `arg:"" optional:"" help:"Extra kernel arguments, as one word of the shell; empty: none." empty:""`

	Output fileName `short:"o" placeholder:"FILE" help:"File to write, which must be named; - for standard output."`
	Force  bool     `short:"f" help:"Replace FILE if it exists."`
	Kernel string   `placeholder:"NAME" help:"Kernel file; by default the run mode's." type:"kernel"`
	Arch   string   `placeholder:"ARCH" help:"amd64, arm64 or riscv64, for uefi, uefi-generic and uefi-provision; iso, usb and uefimg are for amd64 and arm64 at once."`
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
	if c.RunMode != "" {
		if err := cfg.RunModes.Check(c.RunMode); err != nil {
			return fmt.Errorf("%w; %s", err, imageOrder)
		}
	}
	if err := notFolder(c.Output, order.Kind.FileName(order.Options, c.RunMode, order.Target.Farmer)); err != nil {
		return err
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
	if c.Output == "-" {
		if _, err := f.Content.WriteTo(e.stdout); err != nil {
			return err
		}
		return c.remarks(e.stderr, cfg, sources, order)
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
	if err == nil {
		err = c.remarks(e.stderr, cfg, sources, order)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stderr, "wrote %s: %d bytes, SHA-256 %x\n", printable(string(c.Output)), f.Content.Size(), f.Content.SHA256())
	return err
}

// remarks tells what is to be known of an image that was made.
func (c imageCmd) remarks(w io.Writer, cfg setup.Config, from *sources, order catalog.Order) error {
	var b strings.Builder
	switch {
	case order.Kind.NeedsTarget():
		for _, warning := range cfg.Composer().Warnings(order.Target) {
			fmt.Fprintf(&b, "farmboot: warning: %s\n", warning)
		}
		if c.Kernel == "" && strings.HasSuffix(c.Args, kernelSuffix) && !strings.Contains(c.Args, "=") {
			fmt.Fprintf(&b, "farmboot: warning: %q became kernel arguments: a kernel is named with --kernel\n", provisioning.Clip(c.Args, 40))
		}
	case c.RunMode != "":
		fmt.Fprintf(&b, "note: image %s is the same for every run mode\n", order.Kind)
	}
	if shared := order.Kind.Shared(); c.Arch != "" && shared != nil {
		fmt.Fprintf(&b, "note: image %s is the same for %s: --arch changes nothing\n", order.Kind, strings.Join(shared, " and "))
	}
	if cfg.BaseHost == nil && order.Kind != image.GenericKernel && order.Kind != image.GenericUEFI {
		fmt.Fprintf(&b, "note: it fetches from %s, an address of this network: for farmers elsewhere set base-host first\n", from.site(netip.Addr{}, c.Scheme).Base)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// imageOrder says how the arguments follow each other: somebody has the image's URL in mind,
// where a kernel is the last of them.
const imageOrder = "the order is KIND RUNMODE FARMER ARGS, and a kernel is named with --kernel"

// kernelSuffix is how the names of most kernels end.
const kernelSuffix = ".efi"

// order reads the arguments as a URL's are read.
func (c imageCmd) order() (catalog.Order, error) {
	kind, err := image.ParseKind(c.Kind)
	if err != nil {
		return catalog.Order{}, usageError{err.Error() + "; " + imageOrder}
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
			return o, fmt.Errorf("%w; %s", err, imageOrder)
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

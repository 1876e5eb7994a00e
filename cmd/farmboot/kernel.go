package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/signed"
	"farmboot/ipxe/rollout"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
)

// kernelCmd is "farmboot kernel".
type kernelCmd struct {
	Add      kernelAddCmd      `cmd:"" help:"Store a kernel."`
	List     kernelListCmd     `cmd:"" help:"List the kernels."`
	Use      kernelUseCmd      `cmd:"" help:"Choose what a run mode boots."`
	Sync     kernelSyncCmd     `cmd:"" help:"Take now what [kernel] upstream has."`
	Promote  kernelPromoteCmd  `cmd:"" help:"Give the kernel that is tried on a few nodes to all."`
	Rollback kernelRollbackCmd `cmd:"" help:"Go back to what a run mode booted before."`
	History  kernelHistoryCmd  `cmd:"" help:"Show what run modes booted, and how it went."`
	Rm       kernelRmCmd       `cmd:"" help:"Remove a kernel that nothing boots."`
}

type kernelAddCmd struct {
	File   fileName `arg:"" help:"The kernel, an EFI application or a bzImage; - for standard input, or the URL of one." placeholder:"FILE|URL"`
	Name   string   `help:"Name to store it under; by default that of the file." placeholder:"K"`
	SHA256 string   `name:"sha256" help:"Store it only if this is its SHA-256, in hexadecimal digits." placeholder:"SUM"`
	Force  bool     `help:"Store it even if it is no kernel, or cut short, by its own header."`
}

func (kernelAddCmd) Help() string {
	return `A kernel of that name is replaced, at once and whole: no node ever fetches half
of it.

Examples:

  farmboot kernel add zero-os-v3.14.efi
  farmboot kernel add https://example.org/zero-os-v3.14.efi
  curl -s https://example.org/vmlinuz.efi | farmboot kernel add - --name v3.14.efi`
}

func (c kernelAddCmd) Run(ctx context.Context, e *env) error {
	if c.SHA256 != "" {
		if b, err := hex.DecodeString(c.SHA256); err != nil || len(b) != sha256.Size {
			return usageError{fmt.Sprintf("bad --sha256 %q: accepted are 64 hexadecimal digits", c.SHA256)}
		}
	}
	from, name, want := e.stdin, c.Name, kernel.Want{SHA256: c.SHA256, Force: c.Force}
	switch {
	case c.File == "-":
		if name == "" {
			return usageError{"standard input has no name: give the kernel one with --name"}
		}
	case isWebURL(string(c.File)):
		f, err := upstream.NewClient(upstream.DefaultLimits).Get(ctx, string(c.File), upstream.Validator{})
		if err != nil {
			return err
		}
		defer f.Close()
		bar := newProgress(e.stderr, e.now)
		defer bar.end()
		from, want.Size = io.TeeReader(f, bar.of(f.Size)), max(f.Size, 0)
		if u, err := url.Parse(f.URL); name == "" && err == nil {
			name = path.Base(u.Path)
		}
	case isURL(string(c.File)):
		scheme, _, _ := strings.Cut(string(c.File), "://")
		return usageError{fmt.Sprintf("kernel add: nothing is fetched by %s://; accepted are http:// and https://, the name of a file, and - for standard input", scheme)}
	default:
		f, err := openInput(string(c.File))
		if err != nil {
			return err
		}
		defer f.Close()
		from, name = f, cmp.Or(c.Name, filepath.Base(string(c.File)))
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	isNew, err := db.editor.Put(ctx, operator(), name, from, want)
	if err != nil {
		return err
	}
	done := "stored"
	if !isNew {
		done = "replaced"
	}
	if _, err := fmt.Fprintf(e.stdout, "%s kernel %s\n", done, name); err != nil {
		return err
	}
	return warnOfKernel(e, db, name)
}

// storedName reads the name of a stored kernel, and refuses a file's path or a URL in its place.
func storedName(name string) (string, error) {
	if !strings.Contains(name, "/") || strings.HasPrefix(name, "net/") { // which stands for a default kernel
		return name, nil
	}
	return "", provisioning.Errorf(provisioning.NotFound, "%s is not the name of a kernel, but where a file is: store that first (farmboot kernel add), and then name it as farmboot kernel list does", provisioning.Clip(name, 100))
}

// warnOfKernel tells, on stderr, why nodes cannot boot a kernel, by its own header, or
// those with Secure Boot on, or of another kind than most.
func warnOfKernel(e *env, db *database, name string) error {
	problem := db.kernels.Check(name)
	if problem == nil && db.cfg.SecureBoot.Enabled {
		problem = signed.Unsignable(db.kernels, name)
	}
	if foreign := kernel.Foreign(db.kernels.Arch(name), ""); problem == nil && foreign != "" {
		_, err := fmt.Fprintf(e.stderr, "farmboot: warning: %s %s\n", name, foreign)
		return err
	}
	if problem == nil {
		return nil
	}
	_, err := fmt.Fprintf(e.stderr, "farmboot: warning: nodes may not be able to boot it: %v\n", problem)
	return err
}

type kernelListCmd struct {
	JSON bool `help:"As JSON, as the API shows it."`
}

func (kernelListCmd) Help() string {
	return `Examples:

  farmboot kernel list
  farmboot kernel list --json`
}

func (c kernelListCmd) Run(ctx context.Context, e *env, db *database) error {
	infos, err := db.kernels.Infos()
	if err != nil {
		return err
	}
	for _, dead := range db.kernels.Dead() { // of which the list says nothing, or not what is wrong
		fmt.Fprintf(e.stderr, "farmboot: warning: %s\n", oneLine(dead))
	}
	if c.JSON {
		return printJSON(e.stdout, infos)
	}
	tried := make(map[string][]string) // run modes, by the kernel that some of their nodes try
	canaries, err := db.canaries(ctx)
	if err != nil {
		return err
	}
	for _, c := range canaries {
		tried[c.Kernel] = append(tried[c.Kernel], string(c.RunMode)+" (canary)")
	}
	t := newTable(e.stdout, "KERNEL\tBYTES\tSTORED\tRUN MODES\tLINK TO\tSHA-256")
	for _, k := range infos {
		var modes []string
		for _, m := range k.RunModes {
			modes = append(modes, string(m))
		}
		modes = append(modes, tried[k.Name]...)
		t.row("%s\t%d\t%s\t%s\t%s\t%s", k.Name, k.Size, localTime(k.Modified), dash(strings.Join(modes, ",")), dash(k.Target), k.SHA256)
	}
	return t.flush()
}

type kernelUseCmd struct {
	RunMode provisioning.RunMode `arg:"" name:"runmode" help:"Run mode: prod, test, …"`
	Kernel  string               `arg:"" help:"Name of a kernel." type:"kernel"`
	Canary  string               `help:"Try it first on so many nodes, on a share of them, or on these." placeholder:"N|N%|MAC,…"`
	Force   bool                 `help:"Even if the kernel is cut short by its own header."`
}

func (kernelUseCmd) Help() string {
	return `Nodes of that run mode without a kernel of their own boot it from now on. With
--canary only some do, at their next boot, and the rest boot what they did: until
half of them, twenty at most, have proven it (their operating system was up, and
they did not netboot again for ten minutes), when it is promoted by itself; or until
more than two boots, and more than a twentieth of the nodes, have failed, when it is
taken back.

Examples:

  farmboot kernel use prod zero-os-v3.14.efi
  farmboot kernel use prod zero-os-v3.14.efi --canary 5%
  farmboot kernel use prod zero-os-v3.14.efi --canary 52:54:00:00:00:b1,52:54:00:00:00:b2`
}

func (c kernelUseCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := db.cfg.RunModes.Check(c.RunMode); err != nil {
		return err
	}
	if c.Canary != "" {
		canary, err := db.rollout.Start(ctx, operator(), c.RunMode, c.Kernel, c.Canary)
		if err != nil {
			return err
		}
		whose := "their"
		if canary.Share == 0 && canary.Known == 1 {
			whose = "its"
		}
		fmt.Fprintf(e.stdout, "run mode %s tries %s on %s at %s next boot\n", c.RunMode, c.Kernel, some(canary), whose)
		return errors.Join(warnOfKernel(e, db, c.Kernel), warnOfUnregistered(ctx, e, db, canary))
	}
	ended, err := db.rollout.Canary(ctx, c.RunMode)
	if err != nil {
		return err
	}
	if err := db.rollout.Use(ctx, operator(), c.RunMode, c.Kernel, c.Force); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.stdout, "run mode %s boots %s\n", c.RunMode, c.Kernel); err != nil {
		return err
	}
	if ended != nil && ended.Kernel != c.Kernel {
		if _, err := fmt.Fprintf(e.stdout, "run mode %s does not try %s any more\n", c.RunMode, ended.Kernel); err != nil {
			return err
		}
	}
	return warnOfKernel(e, db, c.Kernel)
}

// warnOfUnregistered warns of nodes of a canary that are not registered.
func warnOfUnregistered(ctx context.Context, e *env, db *database, c *rollout.Canary) error {
	p := db.cfg.Provisioning
	for _, mac := range c.Nodes {
		_, err := db.store.Node(ctx, mac)
		switch known := provisioning.ErrorCode(err) == provisioning.NotFound; {
		case err == nil:
		case !known:
			return err
		case p.Unknown == provisioning.Boot && p.RunMode == c.RunMode:
			fmt.Fprintf(e.stderr, "farmboot: warning: %s is not registered: is it the right one?\n", mac)
		default:
			register, err := db.howToRegister(ctx, mac)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stderr, "farmboot: warning: %s is not registered and does not boot run mode %s, so it tries nothing: %s --runmode %[2]s\n", mac, c.RunMode, register)
		}
	}
	return nil
}

type kernelRmCmd struct {
	Kernel string `arg:"" help:"Name of a kernel." type:"given"`
}

func (kernelRmCmd) Help() string {
	return `Refused while a run mode boots it or tries it on some nodes, and while a node or a
link needs it. What a run mode booted before may be removed: to go back passes it over
then.

Example:

  farmboot kernel rm zero-os-v3.13.efi`
}

func (c kernelRmCmd) Run(ctx context.Context, e *env, db *database) error {
	back, err := db.rollout.GoesBackTo(ctx, c.Kernel)
	if err != nil {
		return err
	}
	if err := db.editor.Remove(ctx, operator(), c.Kernel); err != nil {
		return err
	}
	if _, err = fmt.Fprintf(e.stdout, "removed kernel %s\n", c.Kernel); err != nil {
		return err
	}
	for _, m := range back {
		next := "nothing any more"
		if _, to, err := db.rollout.Before(ctx, m); err == nil {
			next = to.Kernel
		}
		if _, err := fmt.Fprintf(e.stderr, "farmboot: warning: run mode %s can go back to %s now, not to %s\n", m, next, c.Kernel); err != nil {
			return err
		}
	}
	return nil
}

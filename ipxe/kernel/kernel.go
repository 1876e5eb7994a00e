// Package kernel keeps the kernels that nodes boot: a folder of kernel files, and
// in it (or elsewhere) a folder of default kernels, one for each run mode.
//
// A kernel is known by its file name, which is one path element of plain
// characters ([CheckName]), and symbolic links count only where they lead to a file in
// one of the two folders: nothing else of the host is ever read. Every change is one
// atomic rename, so that a node never fetches half a kernel.
package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

// Store is the two folders. Its methods are safe for concurrent use, by several
// processes too.
type Store struct {
	dir string // [kernel] path
	net string // [kernel] net-path

	upstream Upstream // nil: none

	mu   sync.Mutex
	sums map[string]*sum // by name, as [Store.Stat] takes it
}

// Open returns the store in those folders, which need not exist yet.
func Open(dir, net string) *Store {
	return &Store{dir: dir, net: net, sums: map[string]*sum{}}
}

// Upstream is a service that has kernels which are not here yet.
type Upstream interface {
	// Has returns nil if it has a kernel, "NAME" or "net/R.efi".
	Has(ctx context.Context, rel string) error
	// Heard is Has by what is known already: it waits for nothing. known is false where that
	// is nothing.
	Heard(rel string) (known bool, err error)
	// Take stores that kernel here.
	Take(ctx context.Context, rel string) error
}

// SetUpstream says where kernels come from that are not here; to be called before the
// store is used.
func (s *Store) SetUpstream(u Upstream) { s.upstream = u }

// Available returns nil if nodes can fetch a kernel from us: it is here, or upstream has
// it. Errors are those of [Store.Stat], with upstream's reason.
func (s *Store) Available(ctx context.Context, rel string) error {
	_, err := s.Stat(rel)
	if s.upstream == nil || provisioning.ErrorCode(err) != provisioning.NotFound {
		return err
	}
	if why := s.upstream.Has(ctx, rel); why != nil {
		return NotUpstream(rel, err, why)
	}
	return nil
}

// Known is [Store.Available] by what upstream has said already: it waits for nobody. A kernel
// that upstream has said nothing of is no error.
func (s *Store) Known(rel string) error {
	_, err := s.Stat(rel)
	if s.upstream == nil || provisioning.ErrorCode(err) != provisioning.NotFound {
		return err
	}
	if known, why := s.upstream.Heard(rel); known && why != nil {
		return NotUpstream(rel, err, why)
	}
	return nil
}

// Reachable is a Store that has what upstream has too.
type Reachable struct{ store *Store }

// WithUpstream returns what tells which kernels nodes can fetch from us.
func (s *Store) WithUpstream() Reachable { return Reachable{s} }

// Stat is [Store.Stat]; of a kernel that only upstream has it returns no error, and nil.
func (r Reachable) Stat(rel string) (fs.FileInfo, error) {
	fi, err := r.store.Stat(rel)
	if err == nil {
		return fi, nil
	}
	return nil, r.store.Available(context.Background(), rel)
}

// NotUpstream says of a kernel that is neither here nor upstream why: missing, as if there
// were no upstream, where that has none either.
func NotUpstream(rel string, missing, why error) error {
	if provisioning.ErrorCode(why) == provisioning.NotFound {
		return missing
	}
	return provisioning.Errorf(provisioning.Unavailable, "missing kernel %s: it is not here yet, and cannot be taken from upstream: %w", rel, why)
}

// Folder is where the kernels are. It need not exist yet.
func (s *Store) Folder() string { return s.dir }

// Kernel describes one file.
type Kernel struct {
	Name     string    // file name; "net/prod.efi" for a default kernel
	Size     int64     // bytes
	ModTime  time.Time // of the file behind a symbolic link
	Target   string    // what a symbolic link says, else ""
	RunModes []provisioning.RunMode
}

// Default tells whether it is the default kernel of a run mode.
func (k Kernel) Default() bool { return strings.HasPrefix(k.Name, netPrefix) }

const maxName = 200

// CheckName returns nil if name can be the name of a kernel file: one path
// element of letters, digits and ._+~@=,- that starts with a letter or digit.
// The error has code [provisioning.NotFound], for no such file is ever served.
func CheckName(name string) error {
	ok := name != "" && len(name) <= maxName
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		ok = ok && (alnum || i > 0 && strings.ContainsRune("._+~@=,-", r))
	}
	if !ok {
		return provisioning.Errorf(provisioning.NotFound, "bad kernel name %.60q: accepted is one file name of letters, digits and ._+~@=,- (at most %d)", name, maxName)
	}
	return nil
}

// path returns the file that rel, "NAME" or "net/NAME", stands for.
func (s *Store) path(rel string) (string, error) {
	dir, name := s.dir, rel
	if rest, ok := strings.CutPrefix(rel, netPrefix); ok {
		dir, name = s.net, rest
	}
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// Stat tells what rel ("NAME", or "net/NAME" for a default kernel) is. The error
// has code [provisioning.NotFound] if there is no such kernel, and says how to get
// one there.
func (s *Store) Stat(rel string) (fs.FileInfo, error) {
	if fi := s.statUsual(rel); fi != nil {
		return fi, nil
	}
	dir, file, err := s.resolve(rel)
	if err != nil {
		return nil, err
	}
	fi, err := os.Lstat(filepath.Join(dir, file))
	if err != nil {
		return nil, missing(rel, err)
	}
	return fi, s.checkInfo(rel, fi)
}

// checkInfo refuses what is no file. The error has code [provisioning.NotFound], for upstream
// may have a kernel.
func (s *Store) checkInfo(rel string, fi fs.FileInfo) error {
	switch {
	case fi.IsDir():
		return s.folder(rel)
	case !fi.Mode().IsRegular():
		return broken(rel, "is no ordinary file")
	}
	return nil
}

// folder is the error of a folder: one in the place of a run mode's kernel is in the way, any
// other is no kernel.
func (s *Store) folder(rel string) error {
	m, isDefault := ModeOf(rel)
	switch {
	case !isDefault:
		return missing(rel, nil)
	case s.target(rel) != "": // which another link replaces
		return broken(rel, "is a link to a folder")
	}
	return cause.Error(provisioning.NotFound, cause.Folder(provisioning.Cause{ID: provisioning.CauseKernelBroken, Kernel: rel, RunMode: m}))
}

// broken is the error of a kernel that is there, and cannot be booted.
func broken(rel, note string) error {
	c := provisioning.Cause{ID: provisioning.CauseKernelBroken, Kernel: rel, Note: note}
	if m, ok := ModeOf(rel); ok {
		c.RunMode = m
	}
	return cause.Error(provisioning.NotFound, c)
}

// statUsual is Stat for what nearly every kernel is, in four system calls at most where
// resolve takes one for each folder of three paths: a file, or a link to one beside it or
// in the folder above, as [Store.Point] makes them. nil: resolve has to look.
func (s *Store) statUsual(rel string) fs.FileInfo {
	path, err := s.path(rel)
	if err != nil {
		return nil
	}
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode().Type() == fs.ModeSymlink {
		fi, err = os.Lstat(s.besides(path))
	}
	if err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	return fi
}

// besides returns the kernel beside a link, or in the folder above, that it says; "" if it
// says something else.
func (s *Store) besides(link string) string {
	says, err := os.Readlink(link)
	dir := filepath.Dir(link)
	name, above := strings.CutPrefix(says, "../")
	if err != nil || CheckName(name) != nil {
		return ""
	}
	if above {
		// Where the folder of the link is a link, what is above it is elsewhere.
		if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() || filepath.Dir(dir) != s.dir {
			return ""
		}
		dir = s.dir
	}
	return filepath.Join(dir, name)
}

// resolve follows the symbolic links of rel: to a file below dir, which is one of the
// two folders. A link out of them is no kernel, code [provisioning.NotFound].
func (s *Store) resolve(rel string) (dir, file string, err error) {
	path, err := s.path(rel)
	if err != nil {
		return "", "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil && errors.Unwrap(err) == nil { // "too many links"
		err = syscall.ELOOP
	}
	if err != nil {
		return "", "", s.gone(rel, path, err)
	}
	for _, folder := range []string{s.dir, s.net} {
		dir, err := filepath.EvalSymlinks(folder)
		if err != nil {
			continue // there is none yet
		}
		if file, err := filepath.Rel(dir, real); err == nil && filepath.IsLocal(file) {
			return dir, file, nil
		}
	}
	return "", "", cause.Error(provisioning.NotFound, cause.Outside(provisioning.CauseOf(missing(rel, nil))))
}

// FileOf is the kernel in the folder that rel stands for, through links; "" if the file
// is elsewhere.
func (s *Store) FileOf(rel string) string {
	dir, file, err := s.resolve(rel)
	if err != nil || CheckName(file) != nil {
		return ""
	}
	if own, err := filepath.EvalSymlinks(s.dir); err != nil || own != dir {
		return ""
	}
	return file
}

// target returns what a symbolic link says; "" if rel is none.
func (s *Store) target(rel string) string {
	path, err := s.path(rel)
	if err != nil {
		return ""
	}
	dest, _ := os.Readlink(path)
	return dest
}

// DefaultOf is the kernel that nodes of a run mode boot if they name no other:
// net/<runmode>.efi.
func DefaultOf(m provisioning.RunMode) string { return netPrefix + string(m) + defaultExt }

// ModeOf returns the run mode whose default kernel rel is.
func ModeOf(rel string) (m provisioning.RunMode, ok bool) {
	name, ok := strings.CutPrefix(rel, netPrefix)
	mode, isKernel := strings.CutSuffix(name, defaultExt)
	return provisioning.RunMode(mode), ok && isKernel
}

// What the name of a default kernel has around its run mode.
const (
	netPrefix  = "net/"
	defaultExt = ".efi"
)

// Lack is a run mode whose default kernel is missing, or cannot be booted.
type Lack struct {
	RunMode provisioning.RunMode
	Err     error // of [Store.Stat], or that a node cannot boot the file by its own header
}

// Why says so behind the run mode: "has no kernel yet".
func (l Lack) Why() string { return cause.Lack(l.Err) }

// Broken tells whether there is something that should be a kernel, or lead to one, and does not.
func (l Lack) Broken() bool { return !cause.NoneYet(l.Err) }

// Kernelless returns those of the run modes, in their order, whose default kernel is
// missing, or cannot be booted.
func (s *Store) Kernelless(modes provisioning.RunModes) []Lack {
	var all []Lack
	for _, m := range modes.Ordered() {
		if lack, _ := s.Judge(m); lack != nil {
			all = append(all, *lack)
		}
	}
	return all
}

// Judge says what is wrong with the default kernel of a run mode: lack, that it is missing or
// cannot be booted; or doubt, behind the run mode, why a file that is there may be no kernel.
// nil and "": nothing. It reads the kernel's header, so what answers nodes asks [Store.Stat].
func (s *Store) Judge(m provisioning.RunMode) (lack *Lack, doubt string) {
	rel := DefaultOf(m)
	f, fi, err := s.Open(rel)
	if err != nil {
		return &Lack{m, err}, ""
	}
	defer f.Close()
	switch why := ReadHeader(f).fault(f, fi.Size()); {
	case errors.Is(why, ErrUnknown):
		return nil, fmt.Sprintf("boots %s, which %v: nodes boot it only if iPXE knows its format", rel, why)
	case why != nil:
		return &Lack{m, broken(rel, why.Error())}, ""
	}
	return nil, ""
}

// Dead returns what is wrong with what is in the place of kernels: with links that lead to
// none, empty files, and default kernels that a node cannot boot, or may not be able to.
func (s *Store) Dead() []error {
	var all []error
	for prefix, dir := range map[string]string{"": s.dir, netPrefix: s.net} {
		entries, _ := os.ReadDir(dir) // one that is not there, or cannot be read, has none
		for _, e := range entries {
			rel := prefix + e.Name()
			mode, isDefault := ModeOf(rel)
			if CheckName(e.Name()) != nil || strings.HasSuffix(e.Name(), signatureSuffix) || e.IsDir() && !isDefault {
				continue
			}
			fi, err := s.Stat(rel)
			switch {
			case err != nil:
			case isDefault:
				if lack, doubt := s.Judge(mode); lack != nil {
					err = lack.Err
				} else if doubt != "" {
					err = fmt.Errorf("run mode %s %s", mode, doubt)
				}
			case fi.Size() == 0:
				err = s.Check(rel)
			}
			if err != nil {
				all = append(all, err)
			}
		}
	}
	slices.SortFunc(all, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return all
}

// Open opens a kernel to be read. Errors are those of [Store.Stat].
func (s *Store) Open(rel string) (*os.File, fs.FileInfo, error) {
	dir, file, err := s.resolve(rel)
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir) // what is put in the file's place meanwhile leads nowhere else
	if err != nil {
		return nil, nil, missing(rel, err)
	}
	defer root.Close()
	// O_NONBLOCK: a named pipe would wait for its writer; for a file it means nothing.
	f, err := root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket, or a device without its driver
		return nil, nil, broken(rel, "is no ordinary file")
	}
	if err != nil {
		return nil, nil, missing(rel, err)
	}
	fi, err := f.Stat()
	if err != nil {
		err = missing(rel, err)
	} else {
		err = s.checkInfo(rel, fi)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, fi, nil
}

// gone is missing for a link at path to what is not there: it says which kernel that was, if
// it was one.
func (s *Store) gone(rel, path string, err error) error {
	refusal := missing(rel, err)
	at, known := errors.AsType[*fs.PathError](err) // of [filepath.EvalSymlinks]: its folder is resolved
	fi, noLink := os.Lstat(path)
	if provisioning.ErrorCode(refusal) != provisioning.NotFound || noLink != nil || fi.Mode().Type() != fs.ModeSymlink {
		return refusal
	}
	c := provisioning.CauseOf(refusal)
	if known {
		folder, file := filepath.Split(at.Path)
		kernels, err := filepath.EvalSymlinks(s.dir)
		if err == nil && filepath.Clean(folder) == kernels && CheckName(file) == nil { // farmboot kernel add brings it back
			c.File = file
			return cause.Error(provisioning.NotFound, c)
		}
	}
	return cause.Error(provisioning.NotFound, cause.Nowhere(c))
}

func missing(rel string, err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP) {
		why := errors.Unwrap(err)
		e := cause.Error(provisioning.Unavailable, provisioning.Cause{ID: provisioning.CauseKernelUnread, Kernel: rel, Note: why.Error()})
		e.Err = why
		return e
	}
	c := provisioning.Cause{ID: provisioning.CauseKernelMissing, Kernel: rel}
	link, isDefault := strings.CutPrefix(rel, netPrefix)
	if mode, ok := strings.CutSuffix(link, defaultExt); ok && isDefault {
		c.RunMode = provisioning.RunMode(mode)
	}
	return cause.Error(provisioning.NotFound, c)
}

// Version is a strong validator of the file behind fi: it differs whenever the
// content may. Kernels are replaced by rename, so inode, size and time tell.
func Version(fi fs.FileInfo) string {
	return fmt.Sprintf("%x-%x-%x", fi.ModTime().UnixNano(), fi.Size(), inode(fi))
}

// List returns the kernels by name, with the run modes that boot them. The default
// kernels themselves are in Defaults.
func (s *Store) List() ([]Kernel, error) {
	kernels, err := s.list(s.dir, "")
	if err != nil {
		return nil, err
	}
	defaults, err := s.Defaults()
	if err != nil {
		return nil, err
	}
	byFile := map[string][]provisioning.RunMode{}
	for _, d := range defaults {
		path, err := s.path(d.Name)
		if err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			byFile[real] = append(byFile[real], d.RunModes...)
		}
	}
	for i, k := range kernels {
		if real, err := filepath.EvalSymlinks(filepath.Join(s.dir, k.Name)); err == nil {
			kernels[i].RunModes = byFile[real]
		}
	}
	return kernels, nil
}

// Defaults returns the default kernels, net/<runmode>.efi.
func (s *Store) Defaults() ([]Kernel, error) {
	kernels, err := s.list(s.net, netPrefix)
	if err != nil {
		return nil, err
	}
	for i, k := range kernels {
		if mode, ok := ModeOf(k.Name); ok {
			kernels[i].RunModes = []provisioning.RunMode{mode}
		}
	}
	return kernels, nil
}

// list reads one folder; a folder that does not exist is empty.
func (s *Store) list(dir, prefix string) ([]Kernel, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var kernels []Kernel
	for _, e := range entries {
		fi, err := s.Stat(prefix + e.Name())
		if err != nil {
			continue // a folder, a link out or to nothing, a temporary file: not a kernel
		}
		if strings.HasSuffix(e.Name(), signatureSuffix) {
			continue
		}
		k := Kernel{Name: prefix + e.Name(), Size: fi.Size(), ModTime: fi.ModTime()}
		if e.Type()&fs.ModeSymlink != 0 {
			if k.Target, err = os.Readlink(filepath.Join(dir, e.Name())); err != nil {
				continue // gone since
			}
		}
		kernels = append(kernels, k)
	}
	slices.SortFunc(kernels, func(a, b Kernel) int { return cmp.Compare(a.Name, b.Name) })
	return kernels, nil
}

package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/owner"
)

// MaxSize is the largest kernel that is accepted, in bytes.
const MaxSize = 1 << 30

// Want is what the sender of a kernel says of it; zero values say nothing.
type Want struct {
	Size   int64  // bytes
	SHA256 string // 64 hexadecimal digits
	Force  bool   // store it even if nodes cannot boot it by its own header
}

// Put stores what r gives as kernel name, replacing one that is there. It is
// streamed to a temporary file, checked to be a kernel and to be what want says,
// flushed to the disk and then renamed: a broken upload leaves nothing.
func (s *Store) Put(name string, r io.Reader, want Want) (err error) {
	if err := s.checkPlace(name); err != nil {
		return err
	}
	in, err := s.Receive()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Discard()) }()
	n, err := io.Copy(in, io.LimitReader(r, MaxSize+1))
	switch {
	case in.err != nil:
		return storage("store kernel "+name, in.err)
	case err != nil:
		return provisioning.Errorf(provisioning.Invalid, "upload of kernel %s broke off after %d bytes: %w", name, n, err)
	}
	if err := in.Check(name, want); err != nil {
		return err
	}
	return in.Keep(name)
}

// checkPlace refuses a name that no kernel can be given, or that a folder has or will have.
func (s *Store) checkPlace(name string) error {
	if err := s.checkNewName(name); err != nil {
		return err
	}
	path := filepath.Join(s.dir, name)
	if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
		mend := "move it away first, or choose another name"
		if path == s.net {
			mend = "choose another name"
		}
		return provisioning.Errorf(provisioning.Conflict, "%s is a folder, not a kernel: it is never replaced; %s", name, mend)
	}
	return nil
}

// Incoming is a file that is being received into the kernel folder. Nobody sees it
// before it is kept. Its reading methods are safe for use while it is written.
type Incoming struct {
	file  *atomicfile.File
	store *Store
	hash  hash.Hash
	size  int64
	err   error // of the file system
}

// Receive begins to receive a file; [Incoming.Keep] or [Incoming.Discard] ends that.
func (s *Store) Receive() (*Incoming, error) {
	if err := owner.MkdirAll(s.dir, 0o755); err != nil {
		return nil, storage("make the kernel folder", err)
	}
	// CheckName refuses names that start with a dot, so no half file is ever served.
	f, err := atomicfile.Create(s.dir, 0o644)
	if err != nil {
		return nil, storage("store a kernel", err)
	}
	if err := errors.Join(f.Lock(), f.Inherit()); err != nil { // the lock is for Sweep
		return nil, errors.Join(storage("store a kernel", err), f.Discard())
	}
	return &Incoming{file: f, store: s, hash: sha256.New()}, nil
}

// Write adds to the end of the file. What it says of the file system is a
// [provisioning.Error].
func (in *Incoming) Write(b []byte) (int, error) {
	n, err := in.file.Write(b)
	in.hash.Write(b[:n])
	in.size += int64(n)
	if err != nil {
		in.err = err
		return n, storage("store a kernel", err)
	}
	return n, nil
}

// ReadAt reads what was received so far ([io.ReaderAt]).
func (in *Incoming) ReadAt(b []byte, off int64) (int, error) { return in.file.ReadAt(b, off) }

// Discard removes the file if it was not kept.
func (in *Incoming) Discard() error { return in.file.Discard() }

// Open opens what was received so far to be read; it stays readable when it is kept.
func (in *Incoming) Open() (*os.File, error) {
	f, err := os.Open(in.file.Name())
	if err != nil {
		return nil, storage("read a kernel", err)
	}
	return f, nil
}

// Size is how many bytes were received so far.
func (in *Incoming) Size() int64 { return in.size }

// SHA256 is the digest of what was received so far, in hexadecimal digits.
func (in *Incoming) SHA256() string { return hex.EncodeToString(in.hash.Sum(nil)) }

// Check refuses what is not what want says, and what no node can boot by its own
// header, with code [provisioning.Invalid].
func (in *Incoming) Check(name string, want Want) error {
	n, digest := in.size, in.SHA256()
	switch {
	case n > MaxSize:
		return provisioning.Errorf(provisioning.Invalid, "kernel %s is larger than %d bytes", name, MaxSize)
	case want.Size > 0 && n != want.Size:
		return provisioning.Errorf(provisioning.Invalid, "kernel %s has %d bytes, announced were %d", name, n, want.Size)
	case want.SHA256 != "" && !strings.EqualFold(digest, want.SHA256):
		return provisioning.Errorf(provisioning.Invalid, "kernel %s has SHA-256 %s, announced was %.64s", name, digest, want.SHA256)
	case n == 0:
		return provisioning.Errorf(provisioning.Invalid, "not a kernel: %s is empty", name)
	case want.Force:
		return nil
	}
	return CheckFile(name, in, n)
}

// Keep makes it kernel name, replacing one that is there.
func (in *Incoming) Keep(name string) error {
	if err := in.store.checkPlace(name); err != nil {
		return err
	}
	fi, err := in.file.Stat()
	if err == nil {
		err = in.file.Replace(filepath.Join(in.store.dir, name))
	}
	if err != nil {
		return storage("store kernel "+name, err)
	}
	in.store.sumOf(name, fi).set(in.SHA256())
	return nil
}

// digestSuffix behind a kernel's URL stands for its SHA-256.
const digestSuffix = ".sha256"

// CheckNewName refuses, with code [provisioning.Invalid], names that no kernel can be
// given: those that [CheckName] refuses, and those that stand for another one's digest.
func CheckNewName(name string) error {
	if err := CheckName(name); err != nil {
		return provisioning.Errorf(provisioning.Invalid, "%w", err)
	}
	if strings.HasSuffix(name, digestSuffix) {
		return provisioning.Errorf(provisioning.Invalid, "bad kernel name %.60q: %s at the end of a URL stands for a kernel's digest", name, digestSuffix)
	}
	return nil
}

// checkNewName is [CheckNewName], and refuses the name of the folder of default kernels, or of
// one that leads there, while there is none yet: a file in its place would be in the way of
// every run mode's kernel.
func (s *Store) checkNewName(name string) error {
	if err := CheckNewName(name); err != nil {
		return err
	}
	path := filepath.Join(s.dir, name)
	if path != s.net && !strings.HasPrefix(s.net, path+string(filepath.Separator)) {
		return nil
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return provisioning.Errorf(provisioning.Conflict, "%s is the folder of the run modes' kernels, which is made when one is chosen: choose another name", name)
	}
	return nil
}

// Remove deletes a kernel. It is refused with code [provisioning.Conflict] while a
// run mode's default or another name is a link to it.
func (s *Store) Remove(name string) error {
	if err := s.removable(name); err != nil {
		return err
	}
	path := filepath.Join(s.dir, name)
	kernels, err := s.list(s.dir, "")
	if err != nil {
		return err
	}
	defaults, err := s.list(s.net, netPrefix)
	if err != nil {
		return err
	}
	for _, k := range append(defaults, kernels...) {
		if k.Target == "" || k.Name == name {
			continue
		}
		if link, err := s.path(k.Name); err == nil && leadsTo(link, path) {
			return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: %s; give that another kernel first", name, userOf(k.Name))
		}
	}
	if err := os.Remove(path); err != nil {
		return storage("remove kernel "+name, err)
	}
	_ = os.Remove(path + signatureSuffix) // there may be none, and it is of no use alone
	return syncDir(s.dir)
}

// removable refuses the name of no kernel that is here.
func (s *Store) removable(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	fi, err := os.Lstat(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && fi.IsDir() {
		e := provisioning.Errorf(provisioning.NotFound, "there is no kernel %s here: see farmboot kernel list, or the board's page Kernels", name)
		e.Cause = provisioning.Cause{ID: provisioning.CauseKernelMissing, Kernel: name}
		return e
	}
	if err != nil {
		return missing(name, err)
	}
	return nil
}

// userOf says who uses a kernel by that link.
func userOf(link string) string {
	if mode, ok := ModeOf(link); ok {
		return "run mode " + string(mode) + " boots it"
	}
	return link + " is a link to it"
}

// Point makes run mode m boot kernel name, by one atomic rename of a symbolic link. A
// real file that an operator has put there as the run mode's kernel is not lost: it
// becomes a kernel in the folder, prod-0123456789ab.efi by its digest. A kernel that is
// cut short by its own header, an empty file and a web page are refused, unless by force.
func (s *Store) Point(m provisioning.RunMode, name string, force bool) error {
	switch err := s.Check(name); {
	case provisioning.ErrorCode(err) == provisioning.Invalid && (force || errors.Is(err, ErrUnknown)):
		// iPXE may know it.
	case err != nil:
		return err
	}
	if err := s.setAside(m); err != nil {
		return err
	}
	return s.link(DefaultOf(m), name, true)
}

// setAside gives a default kernel that is a real file a name in the kernel folder too.
func (s *Store) setAside(m provisioning.RunMode) error {
	rel := DefaultOf(m)
	path, err := s.path(rel)
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() || fi.Size() == 0 {
		return nil
	}
	sum, err := s.SHA256(rel)
	if err != nil {
		return err
	}
	aside := ByDigest(m, sum)
	if known, err := s.SHA256(aside); err == nil && known == sum {
		return nil // it is kept already
	}
	if err := os.Link(path, filepath.Join(s.dir, aside)); err == nil {
		return syncDir(s.dir)
	}
	// On another disk, say.
	f, _, err := s.Open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Put(aside, f, Want{SHA256: sum, Force: true})
}

// ByDigest is the name of a run mode's kernel that has no name of its own.
func ByDigest(m provisioning.RunMode, sum string) string {
	return fmt.Sprintf("%s-%.12s%s", m, sum, defaultExt)
}

// Link makes link ("NAME", or "net/NAME" for a default kernel) a symbolic link to
// the kernel target, which must exist. An existing link is replaced atomically, a
// real file never, and no link is made to lead to itself (code
// [provisioning.Conflict]).
func (s *Store) Link(link, target string) error { return s.link(link, target, false) }

// link is Link, and replaces a real file too where that is to be.
func (s *Store) link(link, target string, replace bool) error {
	name, inNet := strings.CutPrefix(link, netPrefix)
	check := s.checkNewName
	if inNet {
		check = CheckNewName
	}
	if err := check(name); err != nil {
		return err
	}
	path, err := s.path(link)
	if err != nil {
		return err
	}
	if strings.HasPrefix(target, netPrefix) {
		return provisioning.Errorf(provisioning.Invalid, "%s is itself a default kernel: name the kernel file", target)
	}
	if _, err := s.Stat(target); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := owner.MkdirAll(dir, 0o755); err != nil {
		return storage("make the folder of default kernels", err)
	}
	if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
		return provisioning.Errorf(provisioning.Conflict, "%s is a folder, not a link: it is never replaced; move it away first", link)
	} else if err == nil && fi.Mode()&fs.ModeSymlink == 0 && !replace {
		return provisioning.Errorf(provisioning.Conflict, "%s is a real file, not a link: it is never replaced; move it away first", link)
	}
	if leadsTo(filepath.Join(s.dir, target), path) {
		return provisioning.Errorf(provisioning.Conflict, "%s leads to %s: the link would lead to itself", target, link)
	}
	dest, err := relative(dir, filepath.Join(s.dir, target))
	if err != nil {
		return storage("link "+link, err)
	}
	if err := atomicfile.Symlink(dest, path); err != nil {
		return storage("link "+link, err)
	}
	return nil
}

// maxLinks is how many symbolic links Linux follows (path_resolution(7)).
const maxLinks = 40

// leadsTo tells whether from is path, or a symbolic link to it, be it over others.
func leadsTo(from, path string) bool {
	goal, err := os.Lstat(path)
	if err != nil {
		return false
	}
	for range maxLinks {
		fi, err := os.Lstat(from)
		if err != nil {
			return false
		}
		if os.SameFile(fi, goal) {
			return true
		}
		dest, err := os.Readlink(from)
		if err != nil {
			return false
		}
		if !filepath.IsAbs(dest) {
			dest = filepath.Join(filepath.Dir(from), dest)
		}
		from = dest
	}
	return false
}

// relative returns how dir refers to file, so that the folders can be moved
// together.
func relative(dir, file string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	return filepath.Rel(dir, filepath.Join(parent, filepath.Base(file)))
}

// storage turns what the file system says into a refusal that tells its reader
// whether to mend the disk or the permissions.
func storage(what string, err error) error {
	why := "the file system refuses it"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		why = "the disk is full"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		why = "the kernel folder cannot be written"
	}
	return provisioning.Errorf(provisioning.Unavailable, "%s: %s: %w", what, why, err)
}

// syncDir makes what was changed in dir last through a power cut.
func syncDir(dir string) error {
	if err := atomicfile.SyncFolder(dir); err != nil {
		return storage("flush "+dir, err)
	}
	return nil
}

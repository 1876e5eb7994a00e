package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
}

// Put stores what r gives as kernel name, replacing one that is there. It is
// streamed to a temporary file, checked to be a kernel and to be what want says,
// flushed to the disk and then renamed: a broken upload leaves nothing.
func (s *Store) Put(name string, r io.Reader, want Want) (err error) {
	if err := checkNewName(name); err != nil {
		return err
	}
	if fi, err := os.Lstat(filepath.Join(s.dir, name)); err == nil && fi.IsDir() {
		return provisioning.Errorf(provisioning.Conflict, "%s is a folder, not a kernel", name)
	}
	if err := owner.MkdirAll(s.dir, 0o755); err != nil {
		return storage("make the kernel folder", err)
	}
	// CheckName refuses names that start with a dot, so no half file is ever served.
	f, err := atomicfile.Create(filepath.Join(s.dir, name), 0o644)
	if err != nil {
		return storage("store kernel "+name, err)
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	if err := errors.Join(f.Lock(), f.Inherit()); err != nil {
		return storage("store kernel "+name, err)
	}
	h := sha256.New()
	sink := &headWriter{w: io.MultiWriter(f, h)}
	n, err := io.Copy(sink, io.LimitReader(r, MaxSize+1))
	digest := hex.EncodeToString(h.Sum(nil))
	switch {
	case sink.err != nil:
		return storage("store kernel "+name, sink.err)
	case err != nil:
		return provisioning.Errorf(provisioning.Invalid, "upload of kernel %s broke off after %d bytes: %w", name, n, err)
	case n > MaxSize:
		return provisioning.Errorf(provisioning.Invalid, "kernel %s is larger than %d bytes", name, MaxSize)
	case want.Size > 0 && n != want.Size:
		return provisioning.Errorf(provisioning.Invalid, "kernel %s has %d bytes, announced were %d", name, n, want.Size)
	case want.SHA256 != "" && !strings.EqualFold(digest, want.SHA256):
		return provisioning.Errorf(provisioning.Invalid, "kernel %s has SHA-256 %s, announced was %.64s", name, digest, want.SHA256)
	}
	if err := checkHead(sink.head); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return storage("store kernel "+name, err)
	}
	if err := f.Replace(); err != nil {
		return storage("store kernel "+name, err)
	}
	s.sumOf(name, fi).set(digest)
	return nil
}

// headWriter remembers the first bytes that pass, and tells a writer's error from
// a reader's.
type headWriter struct {
	w    io.Writer
	head []byte
	err  error
}

func (h *headWriter) Write(b []byte) (int, error) {
	if room := headSize - len(h.head); room > 0 {
		h.head = append(h.head, b[:min(room, len(b))]...)
	}
	n, err := h.w.Write(b)
	h.err = err
	return n, err
}

// checkHead refuses what is certainly no kernel: nothing at all, and the web page that a
// download gave instead of its file. What else iPXE can boot is iPXE's to say; see
// [Format].
func checkHead(head []byte) error {
	text, what := bytes.ToLower(bytes.TrimSpace(head)), ""
	switch {
	case len(head) == 0:
		what = "empty"
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")):
		what = "a web page"
	default:
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "not a kernel: the file is %s; accepted are EFI applications, such as Zero-OS, and bzImages", what)
}

// digestSuffix behind a kernel's URL stands for its SHA-256.
const digestSuffix = ".sha256"

// checkNewName refuses, with code [provisioning.Invalid], names that no kernel can be
// given: those that [CheckName] refuses, and those that stand for another one's digest.
func checkNewName(name string) error {
	if err := CheckName(name); err != nil {
		return provisioning.Errorf(provisioning.Invalid, "%w", err)
	}
	if strings.HasSuffix(name, digestSuffix) {
		return provisioning.Errorf(provisioning.Invalid, "bad kernel name %.60q: %s at the end of a URL stands for a kernel's digest", name, digestSuffix)
	}
	return nil
}

// Remove deletes a kernel. It is refused with code [provisioning.Conflict] while a
// run mode's default or another name is a link to it.
func (s *Store) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	path := filepath.Join(s.dir, name)
	if fi, err := os.Lstat(path); err != nil || fi.IsDir() {
		return missing(name, err)
	}
	kernels, err := list(s.dir, "")
	if err != nil {
		return err
	}
	defaults, err := list(s.net, netPrefix)
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
	return syncDir(s.dir)
}

// userOf says who uses a kernel by that link.
func userOf(link string) string {
	if mode, ok := modeOf(link); ok && strings.HasPrefix(link, netPrefix) {
		return "run mode " + string(mode) + " boots it"
	}
	return link + " is a link to it"
}

// Point makes run mode m boot kernel name, by one atomic rename of a symbolic link. A
// real file that an operator has put there as the run mode's kernel is not lost: it
// becomes a kernel in the folder, prod-0123456789ab.efi by its digest.
func (s *Store) Point(m provisioning.RunMode, name string) error {
	if _, err := s.Stat(name); err != nil {
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
	if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	sum, err := s.SHA256(rel)
	if err != nil {
		return err
	}
	aside := fmt.Sprintf("%s-%.12s%s", m, sum, defaultExt)
	err = os.Link(path, filepath.Join(s.dir, aside))
	if err != nil && !errors.Is(err, fs.ErrExist) { // on another disk, say
		return provisioning.Errorf(provisioning.Conflict, "%s is a real file, not a link, and cannot be kept as kernel %s: move it away first (%w)", rel, aside, errors.Unwrap(err))
	}
	return syncDir(s.dir)
}

// Link makes link ("NAME", or "net/NAME" for a default kernel) a symbolic link to
// the kernel target, which must exist. An existing link is replaced atomically, a
// real file never, and no link is made to lead to itself (code
// [provisioning.Conflict]).
func (s *Store) Link(link, target string) error { return s.link(link, target, false) }

// link is Link, and replaces a real file too where that is to be.
func (s *Store) link(link, target string, replace bool) error {
	if err := checkNewName(strings.TrimPrefix(link, netPrefix)); err != nil {
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
		return provisioning.Errorf(provisioning.Conflict, "%s is a folder, not a link: it is never replaced; choose another name", link)
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

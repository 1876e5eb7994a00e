package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
)

func newStore(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "kernel")
	return Open(dir, filepath.Join(dir, "net")), dir
}

// efi is the smallest thing that passes for a kernel.
func efi(body string) io.Reader { return strings.NewReader(kerneltest.EFI(body)) }

func wantCode(t *testing.T, err error, code provisioning.Code) {
	t.Helper()
	if got := provisioning.ErrorCode(err); got != code {
		t.Errorf("error %v has code %q, want %q", err, got, code)
	}
}

// files lists everything below dir.
func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(p, dir+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestNoNameLeavesTheFolder(t *testing.T) {
	s, dir := newStore(t)
	if err := s.Put("good.efi", efi(""), Want{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..", "secret"), []byte("MZ"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../secret", "net/../../secret", "net/", "net", "/etc/passwd", "a/b", `a\b`, "folder", ".hidden", "-rf", "a b", "a\n", "a\x00", "good.efi/", "${net0/mac}", strings.Repeat("x", 201), "absent.efi"} {
		if _, err := s.Stat(name); provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("Stat(%q) = %v", name, err)
		}
		if f, _, err := s.Open(name); err == nil {
			f.Close()
			t.Errorf("Open(%q) opened a file", name)
		}
	}
	if _, err := s.Stat("good.efi"); err != nil {
		t.Error(err)
	}
}

// TestMissing: who reads it, on a rack's screen or a page, learns how to get a kernel
// there, without a word of folders; and which file is gone, where one was there.
func TestMissing(t *testing.T) {
	s, dir := newStore(t)
	for link, to := range map[string]string{"net/qa.efi": "../v2.efi", "latest.efi": "v2.efi", "net/test.efi": "../latest.efi", "net/own.efi": "/nowhere/${net0}"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "net"), 0o755), os.Symlink(to, filepath.Join(dir, link))); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"net/dev.efi":  "missing kernel net/dev.efi: run mode dev has no kernel yet; farmboot kernel use dev KERNEL gives it one (farmboot kernel add FILE first), or the board's page Kernels",
		"net/qa.efi":   "missing kernel net/qa.efi: run mode qa boots v2.efi, which is gone; farmboot kernel use qa KERNEL gives it another one, farmboot kernel add FILE --name v2.efi stores it again, or the board's page Kernels",
		"latest.efi":   "missing kernel latest.efi: it stands for v2.efi, which is gone; farmboot kernel add FILE --name v2.efi stores it again, or the board's page Kernels",
		"net/test.efi": "missing kernel net/test.efi: run mode test boots v2.efi, which is gone; farmboot kernel use test KERNEL gives it another one, farmboot kernel add FILE --name v2.efi stores it again, or the board's page Kernels",
		"net/own.efi":  "missing kernel net/own.efi: it is a link to a file that is not there; farmboot kernel use own KERNEL gives it one (farmboot kernel add FILE first), or the board's page Kernels",
		"v3.efi":       "missing kernel v3.efi: there is none of that name (see farmboot kernel list); farmboot kernel add FILE --name v3.efi stores it, or the board's page Kernels",
	} {
		if _, err := s.Stat(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
}

// TestPipe: what is no file is no kernel, and nobody waits for it.
func TestPipe(t *testing.T) {
	s, dir := newStore(t)
	if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mkfifo(filepath.Join(dir, "pipe.efi"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Open("pipe.efi")
	wantCode(t, err, provisioning.NotFound)
	_, err = s.SHA256("pipe.efi")
	wantCode(t, err, provisioning.NotFound)
	socket, err := net.Listen("unix", filepath.Join(dir, "socket.efi"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_, _, err = s.Open("socket.efi")
	wantCode(t, err, provisioning.NotFound)
}

// TestLinksThatLeadNowhere: to no file, or round in a circle.
func TestLinksThatLeadNowhere(t *testing.T) {
	s, dir := newStore(t)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "net"), 0o755), os.Symlink("gone.efi", filepath.Join(dir, "dangling.efi")),
		os.Symlink("b.efi", filepath.Join(dir, "a.efi")), os.Symlink("a.efi", filepath.Join(dir, "b.efi")), os.Symlink("../a.efi", filepath.Join(dir, "net", "prod.efi"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dangling.efi", "a.efi", "net/prod.efi"} {
		_, err := s.Stat(name)
		wantCode(t, err, provisioning.NotFound)
		_, _, err = s.Open(name)
		wantCode(t, err, provisioning.NotFound)
		_, err = s.SHA256(name)
		wantCode(t, err, provisioning.NotFound)
	}
}

// TestDigestIsTakenOnTheWay: what was digested while it was stored is not read again.
// The file is changed so that nothing but reading it tells.
func TestDigestIsTakenOnTheWay(t *testing.T) {
	s, dir := newStore(t)
	if err := s.Put("k.efi", efi("abc"), Want{}); err != nil {
		t.Fatal(err)
	}
	stored, err := s.Stat("k.efi")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "k.efi")
	if err := errors.Join(os.WriteFile(path, []byte(kerneltest.EFI("xyz")), 0o644), os.Chtimes(path, time.Time{}, stored.ModTime())); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(kerneltest.EFI("abc"))))
	if got, err := s.SHA256("k.efi"); err != nil || got != want {
		t.Errorf("digest %s, %v, want that of what was stored, %s", got, err, want)
	}
}

// TestUnreadable: a disk that cannot be read is no reason to say so for ever.
func TestUnreadable(t *testing.T) {
	var c sum
	if _, err := c.of(iotest.ErrReader(unix.EIO)); !errors.Is(err, unix.EIO) {
		t.Errorf("error %v, want that of the reader", err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(kerneltest.EFI(""))))
	for _, file := range []io.Reader{efi(""), iotest.ErrReader(unix.EIO)} {
		if got, err := c.of(file); err != nil || got != want {
			t.Errorf("after an error: digest %s, %v, want %s", got, err, want)
		}
	}
}

// TestCheck: what no node can boot is refused when it is stored, unless by force, and
// again when a run mode is to boot it.
func TestCheck(t *testing.T) {
	s, _ := newStore(t)
	whole := kerneltest.EFI("a kernel")
	bzImage := kerneltest.BzImage("a kernel of Linux")
	for name, tt := range map[string]struct {
		file         string
		format       Format
		good, points bool
	}{
		"efi":     {whole, EFI, true, true},
		"longer":  {whole + "and a signature", EFI, true, true},
		"bzimage": {bzImage, BzImage, true, true},
		"half":    {whole[:len(whole)-1], EFI, false, false},
		"half2":   {bzImage[:len(bzImage)-16], BzImage, false, false},
		"script":  {"#!ipxe", Unknown, false, true}, // stored by force: somebody knows better
		"dos":     {"MZ a program of DOS", Unknown, false, true},
	} {
		err := s.Put(name, strings.NewReader(tt.file), Want{})
		if (err == nil) != tt.good {
			t.Errorf("Put %s: %v", name, err)
		}
		if err := s.Put(name, strings.NewReader(tt.file), Want{Force: true}); err != nil {
			t.Errorf("Put %s by force: %v", name, err)
		}
		if err := s.Check(name); (err == nil) != tt.good {
			t.Errorf("Check %s: %v", name, err)
		}
		info, err := s.Info(name)
		if err != nil || info.Format != tt.format || (info.Problem == "") != tt.good {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if err := s.Point("prod", name, false); (err == nil) != tt.points {
			t.Errorf("Point at %s: %v", name, err)
		}
		if err := s.Point("prod", name, true); err != nil {
			t.Errorf("Point at %s by force: %v", name, err)
		}
	}
	wantCode(t, s.Check("absent"), provisioning.NotFound)
	wantCode(t, s.Check("half"), provisioning.Invalid)
}

// TestLinksOut: what lies outside of the kernel folders is no kernel, whatever leads
// there, and is neither listed nor hashed.
func TestLinksOut(t *testing.T) {
	s, dir := newStore(t)
	outside := filepath.Join(filepath.Dir(dir), "provisioning.db")
	if err := errors.Join(
		s.Put("inside.efi", efi("inside"), Want{}), os.MkdirAll(filepath.Join(dir, "net"), 0o755), os.MkdirAll(filepath.Join(dir, "v3"), 0o755),
		os.WriteFile(outside, []byte("secret"), 0o644), os.WriteFile(filepath.Join(dir, "v3", "deep.efi"), []byte(kerneltest.EFI("deep")), 0o644),
		os.Symlink("../provisioning.db", filepath.Join(dir, "x.efi")), os.Symlink(outside, filepath.Join(dir, "y.efi")), os.Symlink("y.efi", filepath.Join(dir, "z.efi")),
		os.Symlink("/etc/hostname", filepath.Join(dir, "net", "test.efi")), os.Symlink("../../provisioning.db", filepath.Join(dir, "net", "dev.efi")),
		os.Symlink("..", filepath.Join(dir, "v3", "up")), os.Symlink("v3/up/../provisioning.db", filepath.Join(dir, "w.efi")),
		os.Symlink(filepath.Join(dir, "inside.efi"), filepath.Join(dir, "net", "prod.efi")), os.Symlink("v3/deep.efi", filepath.Join(dir, "deep.efi")),
	); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.efi", "y.efi", "z.efi", "w.efi", "net/test.efi", "net/dev.efi"} {
		_, err := s.Stat(name)
		wantCode(t, err, provisioning.NotFound)
		_, _, err = s.Open(name)
		wantCode(t, err, provisioning.NotFound)
		_, err = s.SHA256(name)
		wantCode(t, err, provisioning.NotFound)
		_, err = s.Info(name)
		wantCode(t, err, provisioning.NotFound)
	}
	var names []string
	for _, list := range []func() ([]Kernel, error){s.List, s.Defaults} {
		kernels, err := list()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range kernels {
			names = append(names, k.Name)
		}
	}
	if got := strings.Join(names, " "); got != "deep.efi inside.efi net/prod.efi" {
		t.Errorf("listed: %s", got)
	}
	for name, want := range map[string]string{"deep.efi": "deep", "net/prod.efi": "inside"} {
		f, _, err := s.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || string(text) != kerneltest.EFI(want) {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
	if err := s.Remove("x.efi"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestPutIsWholeOrNothing(t *testing.T) {
	s, dir := newStore(t)
	sum := sha256.Sum256([]byte(kerneltest.EFI("abc")))
	for _, tt := range []struct {
		name string
		r    io.Reader
		want Want
		code provisioning.Code
	}{
		{"k.efi", efi("abc"), Want{Size: 4}, provisioning.Invalid},
		{"k.efi", efi("abc"), Want{SHA256: strings.Repeat("0", 64)}, provisioning.Invalid},
		{"k.efi", io.MultiReader(efi("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), Want{}, provisioning.Invalid},
		{"k.efi", strings.NewReader("<html>not a kernel"), Want{}, provisioning.Invalid},
		{"k.efi", strings.NewReader(""), Want{}, provisioning.Invalid},
		{"../k.efi", efi("abc"), Want{}, provisioning.Invalid},
		{"k.efi.sha256", efi("abc"), Want{}, provisioning.Invalid},
		{".k.efi", efi("abc"), Want{}, provisioning.Invalid},
	} {
		wantCode(t, s.Put(tt.name, tt.r, tt.want), tt.code)
		if left := files(t, dir); left != "" {
			t.Fatalf("after a refused upload there is %q", left)
		}
	}
	if err := s.Put("k.efi", efi("abc"), Want{Size: int64(len(kerneltest.EFI("abc"))), SHA256: strings.ToUpper(hex.EncodeToString(sum[:]))}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.SHA256("k.efi"); err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("SHA256 = %s, %v", got, err)
	}
	if err := s.Put("k.efi", strings.NewReader(kerneltest.BzImage("def")), Want{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.SHA256("k.efi"); got == hex.EncodeToString(sum[:]) {
		t.Error("digest of the replaced file")
	}
	if got := files(t, dir); got != "k.efi" {
		t.Errorf("files: %q", got)
	}
}

func TestPoint(t *testing.T) {
	s, dir := newStore(t)
	for _, k := range []string{"a.efi", "b.efi"} {
		if err := s.Put(k, efi(k), Want{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Stat("net/prod.efi")
	wantCode(t, err, provisioning.NotFound)
	wantCode(t, s.Point("prod", "absent.efi", false), provisioning.NotFound)
	wantCode(t, s.Point("prod", "../secret", false), provisioning.NotFound)
	wantCode(t, s.Link("../prod.efi", "a.efi"), provisioning.Invalid)
	wantCode(t, s.Link("x.efi", "net/prod.efi"), provisioning.Invalid)
	for _, k := range []string{"a.efi", "b.efi"} {
		if err := s.Point("prod", k, false); err != nil {
			t.Fatal(err)
		}
	}
	if l, _ := os.Readlink(filepath.Join(dir, "net/prod.efi")); l != "../b.efi" {
		t.Errorf("link says %q", l)
	}
	wantCode(t, s.Remove("b.efi"), provisioning.Conflict)
	if err := s.Remove("a.efi"); err != nil {
		t.Error(err)
	}
	wantCode(t, s.Remove("a.efi"), provisioning.NotFound)
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Name != "b.efi" || len(list[0].RunModes) != 1 || list[0].RunModes[0] != "prod" {
		t.Errorf("List = %+v, %v", list, err)
	}
	defaults, err := s.Defaults()
	if err != nil || len(defaults) != 1 || defaults[0].Name != "net/prod.efi" || defaults[0].Target != "../b.efi" {
		t.Errorf("Defaults = %+v, %v", defaults, err)
	}
}

// TestPointKeepsRealFiles that an operator has put there: they get another name.
func TestPointKeepsRealFiles(t *testing.T) {
	s, dir := newStore(t)
	if err := errors.Join(s.Put("b.efi", efi("b"), Want{}), os.MkdirAll(filepath.Join(dir, "net"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net/test.efi"), []byte("MZ by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Link("net/test.efi", "b.efi"), provisioning.Conflict)
	wantCode(t, s.Point("test", "absent.efi", false), provisioning.NotFound)
	if err := s.Point("test", "b.efi", false); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("MZ by hand"))
	aside := fmt.Sprintf("test-%.12x.efi", sum[:6])
	if got := files(t, dir); got != "b.efi net/test.efi "+aside {
		t.Errorf("files %s", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, aside)); err != nil || string(b) != "MZ by hand" {
		t.Errorf("%s: %q, %v", aside, b, err)
	}
	if k, err := s.Info("b.efi"); err != nil || len(k.RunModes) != 1 || k.RunModes[0] != "test" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestKernelless(t *testing.T) {
	s, dir := newStore(t)
	modes := provisioning.RunModes{"prod": "", "test": "", "qa": "", "own": ""}
	says := func() string {
		var b strings.Builder
		for _, l := range s.Kernelless(modes) {
			fmt.Fprintf(&b, "%s %s (%t). ", l.RunMode, l.Why(), l.Broken())
		}
		return b.String()
	}
	if got := says(); got != "prod has no kernel yet (false). test has no kernel yet (false). qa has no kernel yet (false). own has no kernel yet (false). " {
		t.Errorf("of an empty folder: %s", got)
	}
	if err := errors.Join(s.Put("a.efi", efi("a"), Want{}), s.Point("own", "a.efi", false), s.Point("test", "a.efi", false), os.Symlink("../gone.efi", filepath.Join(dir, DefaultOf("qa")))); err != nil {
		t.Fatal(err)
	}
	if got := says(); got != "prod has no kernel yet (false). qa boots gone.efi, which is gone (true). " {
		t.Errorf("without a kernel: %s", got)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, DefaultOf("qa"))), os.Symlink("/etc/hostname", filepath.Join(dir, DefaultOf("qa"))), os.Symlink("b.efi", filepath.Join(dir, "link.efi"))); err != nil {
		t.Fatal(err)
	}
	if got := says(); got != "prod has no kernel yet (false). qa is pointed at a file outside of the kernel folders, which is never served (true). " {
		t.Errorf("with a link out: %s", got)
	}
	for _, dest := range []string{"/srv/nothing/y.efi", "qa.efi"} { // a disk that is not mounted; a circle
		if err := errors.Join(os.Remove(filepath.Join(dir, DefaultOf("qa"))), os.Symlink(dest, filepath.Join(dir, DefaultOf("qa")))); err != nil {
			t.Fatal(err)
		}
		if got := says(); got != "prod has no kernel yet (false). qa is pointed at a file that is not there (true). " {
			t.Errorf("with a link to %s: %s", dest, got)
		}
		if dead := s.Dead(); len(dead) != 2 || !strings.Contains(dead[1].Error(), "it is a link to a file that is not there") {
			t.Errorf("dead links: %v", dead)
		}
	}
	var dead []string
	for _, err := range s.Dead() {
		dead = append(dead, provisioning.CauseOf(err).Kernel)
	}
	if got := strings.Join(dead, " "); got != "link.efi net/qa.efi" {
		t.Errorf("dead links: %s", got)
	}
}

// TestEmptyFile: a file without content is one, and what reads its header says that nodes
// cannot boot it.
func TestEmptyFile(t *testing.T) {
	s, dir := newStore(t)
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	var dead []string
	for _, rel := range []string{"blank.efi", DefaultOf("prod")} {
		if err := os.WriteFile(filepath.Join(dir, rel), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if fi, err := s.Stat(rel); err != nil || fi.Size() != 0 {
			t.Errorf("Stat of %s: %v, %v", rel, fi, err)
		}
		if f, _, err := s.Open(rel); err != nil || f.Close() != nil {
			t.Errorf("Open of %s: %v", rel, err)
		}
		wantCode(t, s.Check(rel), provisioning.Invalid)
	}
	if lack, doubt := s.Judge("prod"); lack == nil || !lack.Broken() || lack.Why() != "has no kernel that boots: net/prod.efi is empty" || doubt != "" {
		t.Errorf("prod: %+v, %s", lack, doubt)
	}
	for _, err := range s.Dead() {
		dead = append(dead, err.Error())
	}
	if len(dead) != 2 || !strings.Contains(dead[0], "kernel net/prod.efi cannot be booted: it is empty") || !strings.Contains(dead[1], "blank.efi is empty") {
		t.Errorf("told of %q", dead)
	}
	if info, err := s.Info("blank.efi"); err != nil || !strings.Contains(info.Problem, "blank.efi is empty") {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.Remove("blank.efi"); err != nil {
		t.Error(err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("listed: %+v, %v", list, err)
	}
}

// TestLink: a link beside the kernels may be linked to in its turn, never leads to
// itself, and protects what it leads to.
func TestLink(t *testing.T) {
	s, dir := newStore(t)
	for _, k := range []string{"a.efi", "b.efi"} {
		if err := s.Put(k, efi(k), Want{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range [][2]string{{"current.efi", "a.efi"}, {"stable.efi", "current.efi"}, {"net/prod.efi", "stable.efi"}, {"current.efi", "b.efi"}} {
		if err := s.Link(l[0], l[1]); err != nil {
			t.Fatal(err)
		}
	}
	if l, _ := os.Readlink(filepath.Join(dir, "net/prod.efi")); l != "../stable.efi" {
		t.Errorf("link says %q", l)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "net/prod.efi")); err != nil || string(got) != kerneltest.EFI("b.efi") {
		t.Errorf("prod boots %q, %v", got, err)
	}
	wantCode(t, s.Link("current.efi", "stable.efi"), provisioning.Conflict)
	wantCode(t, s.Link("current.efi", "current.efi"), provisioning.Conflict)
	wantCode(t, s.Link("a.efi", "b.efi"), provisioning.Conflict)
	for _, name := range []string{"../x", "net/../x", "", ".x", "a/b"} {
		wantCode(t, s.Link(name, "a.efi"), provisioning.Invalid)
	}
	for _, name := range []string{"../x", "", ".x", "a/b", "net"} {
		wantCode(t, s.Link("x.efi", name), provisioning.NotFound)
	}
	wantCode(t, s.Remove("b.efi"), provisioning.Conflict)
	if err := errors.Join(s.Remove("a.efi"), s.Link("net/prod.efi", "b.efi"), s.Link("x.efi", "b.efi")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Remove("current.efi"), provisioning.Conflict) // stable.efi is a link to it
	if err := errors.Join(s.Remove("stable.efi"), s.Remove("current.efi"), s.Remove("x.efi")); err != nil {
		t.Error(err)
	}
	wantCode(t, s.Remove("b.efi"), provisioning.Conflict) // prod boots it
	if err := os.Remove(filepath.Join(dir, "net/prod.efi")); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("b.efi"); err != nil {
		t.Error(err)
	}
	wantCode(t, s.Put("net", efi("net"), Want{}), provisioning.Conflict) // a folder
}

// TestSweep: what killed uploads left goes, one that is under way stays.
func TestSweep(t *testing.T) {
	s, dir := newStore(t)
	if err := errors.Join(s.Sweep(), s.Put("a.efi", efi("a"), Want{}), s.Point("prod", "a.efi", false)); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{".new-LEFT", "net/.new-LEFT"} {
		if err := os.WriteFile(filepath.Join(dir, left), []byte("MZ"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	underWay, upload := io.Pipe()
	stored := make(chan error)
	go func() { stored <- s.Put("b.efi", underWay, Want{}) }()
	if _, err := upload.Write([]byte(kerneltest.EFI("and half")[:100])); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil {
		t.Error(err)
	}
	if _, err := upload.Write([]byte(kerneltest.EFI("and half")[100:])); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(upload.Close(), <-stored); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); got != "a.efi b.efi net/prod.efi" {
		t.Errorf("files: %q", got)
	}
}

// TestPointIsAtomic reads the default kernel all the while that it is pointed
// elsewhere: it is always one of the two, whole.
func TestPointIsAtomic(t *testing.T) {
	s, _ := newStore(t)
	for _, k := range []string{"a.efi", "b.efi"} {
		if err := errors.Join(s.Put(k, efi(k), Want{}), s.Point("prod", k, false)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 200 {
			if err := s.Point("prod", []string{"a.efi", "b.efi"}[i%2], false); err != nil {
				t.Error(err)
			}
		}
	})
	for {
		select {
		case <-done:
			wg.Wait()
			return
		default:
		}
		f, _, err := s.Open("net/prod.efi")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if got := string(b); err != nil || got != kerneltest.EFI("a.efi") && got != kerneltest.EFI("b.efi") {
			t.Fatalf("read %q, %v", got, err)
		}
	}
}

func TestEmptyFolder(t *testing.T) {
	s, _ := newStore(t)
	list, err := s.List()
	defaults, err2 := s.Defaults()
	if len(list) != 0 || len(defaults) != 0 || err != nil || err2 != nil {
		t.Errorf("%v %v %v %v", list, err, defaults, err2)
	}
}

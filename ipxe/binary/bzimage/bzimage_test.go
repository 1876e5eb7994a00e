package bzimage

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"farmboot/setup/needs"
)

// setupAt is where the setup code of a synthesized image is.
const setupAt = jump + 2 + 0x46

// synthesize returns a small image with that many setup sectors.
func synthesize(sectors int) []byte {
	file := make([]byte, (sectors+1)*sector)
	file[setupSects] = byte(sectors)
	copy(file[bootFlag:], "\x55\xaa\xeb\x46HdrS")
	le.PutUint16(file[version:], 0x207)
	file[loadflags] = 1
	code := le.AppendUint16([]byte(pushDSPush), setupAt+uint16(nextAt))
	copy(file[setupAt:], append(code, lret+next...))
	file = append(file, bytes.Repeat([]byte("payload "), 100)...)
	le.PutUint32(file[syssize:], 50)
	return file
}

func parse(t testing.TB, file []byte) *Image {
	t.Helper()
	m, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWithCommandLine(t *testing.T) {
	original := synthesize(5)
	image := parse(t, original)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 29_000).Draw(t, "text")
		f, err := image.WithCommandLine(text)
		if err != nil {
			t.Fatal(err)
		}
		got := f.Bytes()
		payload := (int(got[setupSects]) + 1) * sector
		if payload > (maxSetupSects+1)*sector || !bytes.Equal(got[payload:], original[6*sector:]) {
			t.Fatalf("the payload is not at %#x", payload)
		}
		if le.Uint32(got[syssize:]) != le.Uint32(original[syssize:]) {
			t.Fatal("syssize changed, but the payload did not")
		}
		entry := int(le.Uint16(got[setupAt+operandAt:])) // where the lret goes
		if entry != 6*sector || !bytes.HasPrefix(got[entry:], []byte(stub[:len(stub)-2])) {
			t.Fatalf("the lret goes to %#x, where the stub is not", entry)
		}
		if resume := le.Uint16(got[entry+len(stub)-2:]); int(resume) != setupAt+nextAt {
			t.Fatalf("the stub goes on at %#x, want %#x", resume, setupAt+nextAt)
		}
		line, _, ended := bytes.Cut(got[entry+len(stub):payload], []byte{0})
		if !ended || !bytes.Equal(line, text) {
			t.Fatalf("the command line has %d bytes of %d, or others", len(line), len(text))
		}
	})
}

func TestWithCommandLineRefuses(t *testing.T) {
	m := parse(t, synthesize(5))
	room := (maxSetupSects-5)*sector - len(stub) - 1
	if _, err := m.WithCommandLine(bytes.Repeat([]byte("x"), room)); err != nil {
		t.Errorf("%d bytes: %v", room, err)
	}
	if _, err := m.WithCommandLine(bytes.Repeat([]byte("x"), room+1)); err == nil || !strings.Contains(err.Error(), "at most 30079 fit") {
		t.Errorf("%d bytes: error = %v, want one that says what fits", room+1, err)
	}
	if _, err := m.WithCommandLine([]byte("a\x00b")); err == nil || !strings.Contains(err.Error(), "NUL at offset 1") {
		t.Errorf("with a NUL: error = %v", err)
	}
}

func TestWithTail(t *testing.T) {
	m := parse(t, synthesize(2))
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		got, err := m.WithTail(3*sector+8, bytes.Repeat([]byte("t"), n))
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		if want := uint32((8 + n + 15) / 16); le.Uint32(got.Bytes()[syssize:]) != want {
			t.Errorf("%d bytes: syssize %d, want %d", n, le.Uint32(got.Bytes()[syssize:]), want)
		}
	}
	for _, at := range []int{-1, 0, 3*sector - 1, len(m.Bytes()) + 1} {
		if _, err := m.WithTail(at, nil); err == nil {
			t.Errorf("a tail from %#x on gives no error", at)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	set := func(at int, v byte) func([]byte) []byte { return func(b []byte) []byte { b[at] = v; return b } }
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "want a bzImage, found 0 bytes"},
		{"boot flag", set(bootFlag, 0), "at 0x1fe (boot_flag): want 55aa, found 00aa"},
		{"magic", set(header, 'h'), `at 0x202 (header): want HdrS, found "hdrS"`},
		{"version", set(version, 1), "want boot protocol 2.02 or newer"},
		{"zImage", set(loadflags, 0), "want LOADED_HIGH"},
		{"ramdisk", set(ramdiskSize, 1), "at 0x21c (ramdisk_image, ramdisk_size or cmd_line_ptr): want 0, found 0x1"},
		{"command line", set(cmdLinePtr+3, 1), "at 0x228"},
		{"no setup", set(setupSects, 0), "at 0x1f1 (setup_sects): want 1 to 64, found 0"},
		{"much setup", set(setupSects, 65), "want 1 to 64, found 65"},
		{"no payload", set(setupSects, 60), "want the payload, found the end of the file"},
		{"truncated", func(b []byte) []byte { return b[:len(b)-16] }, "at 0x1f4 (syssize): want 0x31, the payload of this file, found 0x32"},
		{"long jump", set(jump, 0xe9), "at 0x200 (jump): want a short jump ahead"},
		{"jump back", set(jump+1, 0x80), "at 0x200 (jump): want a short jump ahead"},
		{"Linux", set(setupAt, 0x90), "at 0x248: want the setup code of an ipxe.lkrn"},
		{"extended already", func(b []byte) []byte {
			f, err := parse(t, b).WithCommandLine([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			return f.Bytes()
		}, "want the setup code of an ipxe.lkrn"},
	} {
		if _, err := Parse(tt.change(synthesize(2))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v\nwant one with %q", tt.name, err, tt.want)
		}
	}
}

func TestStubIsWhatTheSourceSays(t *testing.T) {
	needs.Program(t, "as", "binutils")
	needs.Program(t, "objcopy", "binutils")
	object, code := filepath.Join(t.TempDir(), "stub.o"), filepath.Join(t.TempDir(), "stub.bin")
	for _, command := range [][]string{
		{"as", "--32", "-o", object, "stub/cmdline.S"},
		{"objcopy", "-O", "binary", "-j", ".text", object, code},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	want, err := os.ReadFile(code)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(stub), want) {
		t.Errorf("stub is\n%x, stub/cmdline.S\n%x", stub, want)
	}
}

// FuzzParse: no file makes it panic, and what it takes can be given a command line
// once.
func FuzzParse(f *testing.F) {
	f.Add(synthesize(1), []byte("#!ipxe\n"))
	f.Fuzz(func(t *testing.T, file, text []byte) {
		m, err := Parse(file)
		if err != nil {
			return
		}
		out, err := m.WithCommandLine(text)
		if err != nil {
			return
		}
		if _, err := Parse(out.Bytes()); err == nil {
			t.Fatal("extending twice is not refused")
		}
		if _, err := m.WithTail(m.payload, text); err != nil && len(text) > 0 {
			t.Fatalf("another payload of %d bytes: %v", len(text), err)
		}
	})
}

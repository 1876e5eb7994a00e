package binary

import (
	"bytes"
	"errors"
	"fmt"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/provisioning/filenames"
)

// Shims are what starts an iPXE on machines with Secure Boot on.
type Shims struct {
	ID         string // stands for the files: equal IDs, equal bytes
	Name       string // of the shim's file: [filenames.Shim], or [filenames.IPXEShim]
	Shim       []byte
	MokManager []byte // nil: none, with [filenames.IPXEShim]
	// Pair says that ipxe.efi is signed too, by whom this shim trusts: it stays as it
	// is, and is given no script but autoexec.ipxe.
	Pair bool
	// SystemdBoot is that program; nil: there is none, NoSystemdBoot says why.
	SystemdBoot   []byte
	NoSystemdBoot error
}

// shimsFile is what was found for Secure Boot.
type shimsFile struct {
	shims Shims
	err   error
}

// Shims returns what the folder has for Secure Boot. The error, a
// [provisioning.Error] with code [provisioning.Unavailable], says what is missing and
// how to get it.
func (t *Template) Shims() (Shims, error) {
	f := t.shims()
	return f.shims, f.err
}

func (d folder) shims(ipxe file) (f shimsFile) {
	load := func(name string) []byte {
		data, _, err := d.read(name)
		if err == nil {
			err = checkShim(data)
		}
		if err != nil {
			f.err = errors.Join(f.err, unusable(name, err))
		}
		return data
	}
	if signed(ipxe) {
		f.shims = Shims{Name: filenames.IPXEShim, Shim: load(filenames.IPXEShim), Pair: true}
	} else {
		f.shims = Shims{Name: filenames.Shim, Shim: load(filenames.Shim), MokManager: load(filenames.MokManager)}
	}
	if data, err := d.systemdBoot(); err == nil {
		f.shims.SystemdBoot = data
	} else {
		f.shims.NoSystemdBoot = unusable(SystemdBoot, err)
	}
	id := digestOf(f.shims.Shim, f.shims.MokManager, f.shims.SystemdBoot)
	f.shims.ID = fmt.Sprintf("%x", id[:16])
	return f
}

// signed tells whether a program of the folder is signed already.
func signed(f file) bool {
	p, err := f.program()
	if err != nil {
		return false
	}
	efi, ok := p.(efiProgram)
	return ok && efi.image.Signed()
}

// checkShim refuses what firmware with Secure Boot on would certainly not start.
func checkShim(data []byte) error {
	p, err := authenticode.Parse(bytes.NewReader(data), int64(len(data)))
	switch {
	case err != nil:
		return err
	case !p.AMD64():
		return errors.New("want an EFI program for x86-64")
	case !p.Signed():
		return errors.New("want a program that is signed, found no certificate table")
	}
	return nil
}

// systemdBoot refuses what does not write keys into firmware. Whose signature it has
// does not matter: in Setup Mode firmware checks none.
func (d folder) systemdBoot() ([]byte, error) {
	data, _, err := d.read(SystemdBoot)
	if err != nil {
		return nil, err
	}
	p, err := authenticode.Parse(bytes.NewReader(data), int64(len(data)))
	switch {
	case err != nil:
		return nil, err
	case !p.AMD64():
		return nil, errors.New("want an EFI program for x86-64")
	case !bytes.Contains(data, []byte("secure-boot-enroll")): // a setting of loader.conf
		return nil, errors.New("want systemd-boot 252 or newer, found no secure-boot-enroll in it")
	}
	return data, nil
}

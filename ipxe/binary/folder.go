package binary

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checksumsName is the list of checksums that setup/template.sh leaves in a template
// folder, as sha256sum(1) writes it. A folder with an operator's own build has none.
const checksumsName = "SHA256SUMS"

// maxFile is how large a file of the folder may be, in bytes. The largest, ipxe.iso, has
// some 9 MB.
const maxFile = 64 << 20

// folder is a template folder.
type folder struct {
	dir  string
	sums map[string]string // SHA-256 digests of files, in hexadecimal digits, by name
	err  error             // why the list of them cannot be read, and so no file either
}

// openFolder reads the list of checksums; there may be none.
func openFolder(dir string) folder {
	d := folder{dir: dir, sums: map[string]string{}}
	text, _, err := d.read(checksumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return d
	}
	if err != nil {
		d.err = fmt.Errorf("read its %s: %w", checksumsName, err)
		return d
	}
	for line := range strings.Lines(string(text)) {
		digest, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if name = strings.TrimLeft(name, " *"); !ok || len(digest) != 2*sha256.Size {
			d.err = fmt.Errorf("read its %s: want lines of a digest and a name, found %.80q", checksumsName, line)
			return d
		}
		d.sums[name] = strings.ToLower(digest)
	}
	return d
}

// open opens a file of the folder that is one, and has an end.
func (d folder) open(name string) (f *os.File, size int64, err error) {
	if d.err != nil {
		return nil, 0, d.err
	}
	if f, err = os.Open(filepath.Join(d.dir, name)); err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case !fi.Mode().IsRegular():
		err = errors.New("it is not a file")
	case fi.Size() > maxFile:
		err = fmt.Errorf("it has %d bytes: at most %d are accepted", fi.Size(), maxFile)
	default:
		return f, fi.Size(), nil
	}
	return nil, 0, errors.Join(err, f.Close())
}

// read reads a file, and refuses one that is not what the list says. sum is its digest.
func (d folder) read(name string) (data []byte, sum [sha256.Size]byte, err error) {
	f, size, err := d.open(name)
	if err != nil {
		return nil, sum, err
	}
	defer f.Close()
	data = make([]byte, size) // io.ReadAll would copy it again and again
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, sum, err
	}
	sum = sha256.Sum256(data)
	return data, sum, d.check(name, sum)
}

// check refuses a file that is not what the list says.
func (d folder) check(name string, sum [sha256.Size]byte) error {
	if want, listed := d.sums[name]; listed && want != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("it is not the file that was put there, by the list %s beside it (is it a build of your own? Take it out of the list)", checksumsName)
	}
	return nil
}

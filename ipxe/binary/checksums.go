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
// some 2 MB.
const maxFile = 64 << 20

// checksums are the SHA-256 digests of files, in hexadecimal digits, by name.
type checksums map[string]string

// readChecksums reads the list; there may be none.
func readChecksums(path string) (checksums, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read its %s: %w", checksumsName, err)
	}
	sums := checksums{}
	for line := range strings.Lines(string(text)) {
		digest, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if name = strings.TrimLeft(name, " *"); !ok || len(digest) != 2*sha256.Size {
			return nil, fmt.Errorf("read its %s: want lines of a digest and a name, found %.80q", checksumsName, line)
		}
		sums[name] = strings.ToLower(digest)
	}
	return sums, nil
}

// read reads a file, and refuses one that is not what the list says.
func (c checksums) read(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if want, listed := c[filepath.Base(path)]; listed && want != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("it is not the file that was put there, by the list %s beside it (is it a build of your own? Take it out of the list)", checksumsName)
	}
	return data, nil
}

// readFile reads a file that is one, and has an end.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	case fi.Size() > maxFile:
		return nil, fmt.Errorf("it has %d bytes: at most %d are accepted", fi.Size(), maxFile)
	}
	b := make([]byte, fi.Size()) // io.ReadAll would copy it again and again
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

package kernel

import (
	"os"
	"path/filepath"

	"farmboot/provisioning/atomicfile"
)

// signatureSuffix behind the name of a file is that of its minisign signature.
const signatureSuffix = ".minisig"

// PutSignature stores the minisign signature of a kernel, for those who take it from us.
func (s *Store) PutSignature(name string, signature []byte) error {
	if err := CheckNewName(name); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.dir, name)+signatureSuffix, 0o644, signature); err != nil {
		return storage("store the signature of kernel "+name, err)
	}
	return nil
}

// OpenSignature opens the minisign signature of a kernel, that of the file behind a link.
// Errors are those of [Store.Stat].
func (s *Store) OpenSignature(rel string) (*os.File, error) {
	dir, file, err := s.resolve(rel)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, missing(rel, err)
	}
	defer root.Close()
	f, err := root.Open(file + signatureSuffix)
	if err != nil {
		return nil, missing(rel+signatureSuffix, err)
	}
	return f, nil
}

package kernel

import "farmboot/provisioning/atomicfile"

// Sweep removes what uploads left whose process was killed. No request ever sees
// such files, but a disk fills up with them. Uploads that go on, of whichever
// process, are left alone.
func (s *Store) Sweep() error {
	for _, dir := range []string{s.dir, s.net} {
		if err := atomicfile.Sweep(dir); err != nil {
			return storage("clean up "+dir, err)
		}
	}
	return nil
}

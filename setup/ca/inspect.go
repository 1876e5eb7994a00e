package ca

import (
	"errors"
	"io/fs"
	"time"
)

// soon is how long before its end an operator's certificate is worth a word.
const soon = 14 * day

// Inspect says, without making anything, what keeps a server from starting with the
// operator's files, or, if certFile is "", with the root in dir; and what clients
// will have against the operator's certificate.
func Inspect(dir, certFile, keyFile string, now time.Time) (weak []string, err error) {
	if certFile == "" {
		if _, err := loadRoot(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil
	}
	c, err := operators(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	weak = weaknesses(c.Leaf, now)
	if end := c.Leaf.NotAfter; now.Before(end) && now.Add(soon).After(end) {
		weak = append(weak, "it ends on "+end.Format(time.DateOnly)+": renew it")
	}
	return weak, nil
}

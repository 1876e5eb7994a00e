package catalog

import (
	"fmt"
	"sync"
)

// Download is exactly what an order gets, but for the bytes.
type Download struct {
	URL    string // path and query below our base
	Name   string // of the file
	Size   int64  // bytes
	SHA256 string // hexadecimal digits
	Script string // inside it; "": none
}

// Describe tells what an order gets. Refusals are those of [Catalog.Image].
func (c *Catalog) Describe(o Order) (Download, error) {
	f, err := c.Image(o)
	if err != nil {
		return Download{}, err
	}
	sum := c.sums.of(f.ETag, func() string { return fmt.Sprintf("%x", f.Content.SHA256()) })
	return Download{URL: o.URL(), Name: f.Name, Size: f.Content.Size(), SHA256: sum, Script: string(f.Script)}, nil
}

// maxSums is how many digests are remembered: more than are asked for in a day, in
// some 50 kB.
const maxSums = 256

// sums remembers digests by entity tag. Composing an image takes microseconds; to
// digest its megabytes takes milliseconds, and anybody may ask for that.
type sums struct {
	mu    sync.Mutex
	known map[string]string
}

// of returns the digest of what has that entity tag, computed if it is not known.
func (s *sums) of(etag string, compute func() string) string {
	s.mu.Lock()
	sum, ok := s.known[etag]
	s.mu.Unlock()
	if ok {
		return sum
	}
	sum = compute() // by several at once, if need be: nobody waits for another
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSums {
		s.known = map[string]string{} // those that are asked for come back
	}
	s.known[etag] = sum
	return sum
}

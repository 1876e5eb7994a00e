package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// header is the first part of the index of the write-ahead log, which SQLite keeps in
// shared memory, in the file whose name ends in -shm: struct WalIndexHdr, which holds the
// number of transactions, the log's length, salts and sums. It changes with every commit,
// whichever process makes it, before the commit returns
// (https://sqlite.org/walformat.html#the_wal_index_header).
type header [48]byte

// transactions is the number of commits, modulo 2³².
func (h header) transactions() uint32 { return binary.NativeEndian.Uint32(h[8:]) }

// version numbers the states of what people decided, the nodes and the history, without a query: reading the header
// takes nanoseconds, PRAGMA data_version as many microseconds.
type version struct {
	mu     sync.Mutex
	index  *index // nil: not known
	last   header
	number uint64
	ours   *header // what the header was before a commit of ours that is under way; nil: none is
}

// get returns the number of the present state; 0: not known.
func (v *version) get() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.index == nil {
		return 0
	}
	// A header that is just being written is unlike the last one too: then the number
	// goes up twice.
	if now := header(v.index.mapped); now != v.last && !v.isOurs(now) {
		v.last = now
		v.number++
	}
	return v.number
}

// isOurs tells whether the commit of ours that is under way has brought the header from
// the last one to now. Another one that follows at once counts on before it returns.
func (v *version) isOurs(now header) bool {
	return v.ours != nil && v.last == *v.ours && now.transactions()-v.ours.transactions() <= 1
}

// keep commits a transaction of ours that leaves those alone: the number stays the same.
// Nobody else can have written since the transaction began.
func (v *version) keep(commit func() error) error {
	v.mu.Lock()
	if v.index != nil {
		before := header(v.index.mapped)
		v.ours = &before
	}
	v.mu.Unlock()
	err := commit()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.index != nil && v.ours != nil {
		if now := header(v.index.mapped); v.isOurs(now) {
			v.last = now
		}
	}
	v.ours = nil
	return err
}

// open begins to read the header. A connection that has read from the database must be
// open, and stay so: SQLite makes and removes the file with the first and the last one.
func (v *version) open(file string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	v.index, err = openIndex(file + "-shm")
	return err
}

// close ends it, after all connections are closed.
func (v *version) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.index == nil {
		return nil
	}
	index := v.index
	v.index = nil
	return index.close()
}

// index is a file of shared memory. All stores of this process that have the same
// database open share one: closing the file, even one that was opened for reading only,
// ends every lock that the process has on it (fcntl(2), "Record locking and file
// descriptors"), those of SQLite too.
type index struct {
	file   os.FileInfo
	fd     *os.File
	mapped []byte
	users  int
}

var indexes struct {
	mu   sync.Mutex
	open []*index
}

func openIndex(name string) (*index, error) {
	indexes.mu.Lock()
	defer indexes.mu.Unlock()
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a database that is only read may have none
	}
	if err != nil {
		return nil, err
	}
	for _, i := range indexes.open {
		if os.SameFile(i.file, info) {
			i.users++
			return i, nil
		}
	}
	i := &index{file: info, users: 1}
	if i.fd, err = os.Open(name); err != nil {
		return nil, err
	}
	// Whatever fails from here on, the file stays open.
	if info.Size() < int64(len(header{})) {
		return nil, fmt.Errorf("%s is too short", name)
	}
	if i.mapped, err = unix.Mmap(int(i.fd.Fd()), 0, len(header{}), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	indexes.open = append(indexes.open, i)
	return i, nil
}

func (i *index) close() error {
	indexes.mu.Lock()
	defer indexes.mu.Unlock()
	if i.users--; i.users > 0 {
		return nil
	}
	for at, other := range indexes.open {
		if other == i {
			indexes.open = append(indexes.open[:at], indexes.open[at+1:]...)
			break
		}
	}
	return errors.Join(unix.Munmap(i.mapped), i.fd.Close())
}

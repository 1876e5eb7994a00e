package recorder

import (
	"slices"
	"sync"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
)

const (
	// inboxSize holds what a farm of 10,000 nodes says in the second in which it powers on; of
	// a farm of 1,000 also the rest of its boots, should the disk be busy meanwhile.
	inboxSize = 32768
	// inboxText is for how many bytes of text there is room: what nodes say of themselves is as
	// long as they like.
	inboxText = 8 << 20
)

// chunkSize is how many of them lie together in memory, some 8 KB: whoever answers nodes
// never waits until many have been copied to a larger place, or a batch has been taken out.
const chunkSize = 64

// inbox holds what was recorded until it is stored. Whoever stores it is woken once for a
// batch: to wake a thread for each event takes processor time from what answers nodes.
type inbox struct {
	ring chan struct{} // holds a value when enough may be there

	mu      sync.Mutex
	enough  int
	count   int
	bytes   int            // of text
	waiting [][]boots.News // chunks: full but for the last one
	text    []byte         // room for what the next events tell
	spare   [][]boots.News // empty ones, of batches that are stored
}

func newInbox() *inbox { return &inbox{ring: make(chan struct{}, 1), enough: 1} }

const (
	// textSize is for what some hundred events tell.
	textSize = 32 << 10
	// textLeft is more than almost every event tells.
	textLeft = 4 << 10
)

// event adds an event, unless the inbox is full.
func (b *inbox) event(e *provisioning.Event) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= inboxSize || b.bytes >= inboxText {
		return false
	}
	if cap(b.text)-len(b.text) < textLeft {
		b.text = make([]byte, 0, textSize)
	}
	var n boots.News
	n, b.text = boots.Happened(b.text, e)
	b.put(n)
	return true
}

// learned adds whose an address is, unless the inbox is full.
func (b *inbox) learned(n boots.News) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= inboxSize {
		return false
	}
	b.put(n)
	return true
}

func (b *inbox) put(n boots.News) {
	last := len(b.waiting) - 1
	if last < 0 || len(b.waiting[last]) == chunkSize {
		b.waiting = append(b.waiting, b.chunk())
		last++
	}
	b.waiting[last] = append(b.waiting[last], n)
	b.count++
	b.bytes += n.Size()
	b.ringIfEnough()
}

// chunk returns an empty one.
func (b *inbox) chunk() []boots.News {
	last := len(b.spare) - 1
	if last < 0 {
		return make([]boots.News, 0, chunkSize)
	}
	chunk := b.spare[last]
	b.spare = b.spare[:last]
	return chunk
}

// await returns a channel that has a value soon after so many wait; it may have one before.
func (b *inbox) await(enough int) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enough = enough
	b.ringIfEnough()
	return b.ring
}

func (b *inbox) ringIfEnough() {
	if b.count < b.enough {
		return
	}
	select {
	case b.ring <- struct{}{}:
	default:
	}
}

// len is how many wait.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// take returns the first of those that wait, in chunks: at most so many, or one chunk. They
// are the caller's until he gives their memory back.
func (b *inbox) take(most int) (batch [][]boots.News) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chunks := min(max(1, most/chunkSize), len(b.waiting))
	batch = slices.Clone(b.waiting[:chunks])
	b.waiting = slices.Delete(b.waiting, 0, chunks)
	for n := range boots.All(batch...) {
		b.count--
		b.bytes -= n.Size()
	}
	return batch
}

// giveBack keeps the memory of a batch for the next one, while there is much to hold.
func (b *inbox) giveBack(batch [][]boots.News) {
	much := newsCount(batch) >= recorderBatch/2
	for i, chunk := range batch {
		clear(chunk)
		batch[i] = chunk[:0]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare = nil
	if much {
		b.spare = batch
	}
}

// newsCount is how much news is in a batch.
func newsCount(batch [][]boots.News) (n int) {
	for _, chunk := range batch {
		n += len(chunk)
	}
	return n
}

package http

// Go doubles the stack of a goroutine when a call finds no room, again and again, and moves
// more each time: that took an eleventh of the CPU time of a connection with one request
// (measured). Whoever serves a connection grows its stack in one step, before there is much to move.

// growStack makes the stack of its goroutine 8 KB, which is room for what net/http calls to
// send a kernel or an image.
//
//go:noinline
func growStack() {
	var room [5 << 10]byte
	use(room[:])
}

// growStackForScripts makes it 16 KB: room for what decides what a node boots.
//
//go:noinline
func growStackForScripts() {
	var room [10 << 10]byte
	use(room[:])
}

// use has the compiler leave room alone.
//
//go:noinline
func use(room []byte) { room[0] = 1 }

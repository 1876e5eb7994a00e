// Package answer makes HTTP handlers of functions that return errors: it counts,
// logs, recovers, maps error codes to status codes, and keeps the way open for
// the kernel to send files by itself (sendfile).
package answer

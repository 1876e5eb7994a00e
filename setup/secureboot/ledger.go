// Package secureboot keeps what an appliance knows of its nodes' Secure Boot, and
// writes our certificate as files for firmware.
package secureboot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/owner"
)

// Ledger is two folders with a file of one line for each MAC address: the nodes
// that are to be enrolled at their next boot, and those that have shown that they trust
// a key of ours. Each change is one step, and processes see each other's at once.
type Ledger struct {
	Dir string // need not exist
	Now func() time.Time
}

const (
	enrolDir  = "enrol"
	trustsDir = "trusts"
)

// Note is what is known of one node.
type Note struct {
	MAC provisioning.MAC `json:"mac"`
	At  time.Time        `json:"since"`
	Key string           `json:"sha256,omitempty"` // fingerprint of the key that it trusts, in hexadecimal digits
}

// file is a node's file. Colons have no place in the names of other systems' disks.
func (l *Ledger) file(dir string, m provisioning.MAC) string {
	return filepath.Join(l.Dir, dir, strings.ReplaceAll(m.String(), ":", "-"))
}

// Enrol has a node enrolled at its next boot.
func (l *Ledger) Enrol(m provisioning.MAC) error { return l.write(enrolDir, m, "") }

// Enrolling tells whether a node is to be enrolled at its next boot.
func (l *Ledger) Enrolling(m provisioning.MAC) bool {
	_, err := os.Stat(l.file(enrolDir, m))
	return err == nil
}

// Enrolled ends the enrolment of a node; that there is none is no error.
func (l *Ledger) Enrolled(m provisioning.MAC) error {
	if err := os.Remove(l.file(enrolDir, m)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end the enrolment of %s: %w", m, err)
	}
	return nil
}

// Trusts notes that a node has run what the key of that fingerprint signed, with Secure
// Boot on, unless that is known.
func (l *Ledger) Trusts(m provisioning.MAC, key [32]byte) error {
	text := hex.EncodeToString(key[:])
	if known, err := l.read(trustsDir, m); err == nil && known.Key == text {
		return nil
	}
	return l.write(trustsDir, m, text)
}

// write puts a node's file in place in one step: since when, and which key.
func (l *Ledger) write(dir string, m provisioning.MAC, key string) error {
	folder := filepath.Join(l.Dir, dir)
	text := l.Now().UTC().Format(time.RFC3339) + " " + key + "\n"
	if err := errors.Join(owner.MkdirAll(l.Dir, 0o700), owner.MkdirAll(folder, 0o700)); err != nil {
		return fmt.Errorf("note %s: %w", m, err)
	}
	if err := atomicfile.Write(l.file(dir, m), 0o600, []byte(text)); err != nil {
		return fmt.Errorf("note %s: %w", m, err)
	}
	return nil
}

// read reads a node's file.
func (l *Ledger) read(dir string, m provisioning.MAC) (Note, error) {
	text, err := os.ReadFile(l.file(dir, m))
	if err != nil {
		return Note{}, err
	}
	since, key, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	at, err := time.Parse(time.RFC3339, since)
	return Note{MAC: m, At: at, Key: key}, err
}

// ToEnrol lists the nodes that are to be enrolled, by MAC address.
func (l *Ledger) ToEnrol() ([]Note, error) { return l.list(enrolDir) }

// Trusting lists the nodes that have shown that they trust a key of ours, by MAC address.
func (l *Ledger) Trusting() ([]Note, error) { return l.list(trustsDir) }

func (l *Ledger) list(dir string) ([]Note, error) {
	entries, err := os.ReadDir(filepath.Join(l.Dir, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the notes on Secure Boot: %w", err)
	}
	notes := []Note{}
	for _, e := range entries {
		m, err := provisioning.ParseMAC(e.Name())
		if err != nil {
			continue // on its way
		}
		if n, err := l.read(dir, m); err == nil { // else it is gone since, or no file of ours
			notes = append(notes, n)
		}
	}
	slices.SortFunc(notes, func(a, b Note) int { return a.MAC.Compare(b.MAC) })
	return notes, nil
}

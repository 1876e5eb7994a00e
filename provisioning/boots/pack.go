package boots

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"farmboot/provisioning"
)

const (
	// MaxSteps is how many events one row holds; a node that asks for ever has more of
	// them. A row is written anew with each step that is added.
	MaxSteps = 24
	// Span is how far apart the IDs of a row's events may be, so that a reader who looks
	// for those behind an ID knows where to begin.
	Span = 1 << 16
)

// The events of a boot are a message of protocol buffers with one field, repeated
// (https://protobuf.dev/programming-guides/encoding/): "protoc --decode_raw" shows them.
// They are stored: the number of a field never changes its meaning, and one that is not
// known is skipped.
const fieldStep protowire.Number = 1

// The fields of a step. The two that come first are its own; the others may be those of a
// step before, for firmware says the same again and again.
const (
	fieldID    protowire.Number = iota + 1 // more than that of the step before
	fieldAt                                // milliseconds after that of the step before, as sint64
	fieldLike                              // all others are those of the step so many before
	fieldStage                             // text, as are those without a remark
	fieldDetail
	fieldFile
	fieldIPXE // 1
	fieldVia
	fieldVersion
	fieldSHA256
	fieldCause // JSON
	fieldHeld
	fieldBytes
	fieldSize
	fieldDuration // nanoseconds
	fieldPeer     // text
)

// likeBack is how many steps back one looks for the same: a DISCOVER and its OFFER take
// turns.
const likeBack = 2

// add appends an event, whose ID is greater than that of the last; at is in milliseconds.
func add(b *provisioning.BootRow, id, at int64, body []byte) {
	before := at
	if b.Last == 0 {
		b.ID, b.Last, b.Began, b.Ended = id, id, provisioning.FromMillis(at), provisioning.FromMillis(at)
	} else {
		var room [MaxSteps][]byte
		bodies := room[:0]
		before = provisioning.Millis(b.Began)
		_ = each(b.Steps, func(p packed) error { // we have written them
			if p.like > 0 {
				p.body = bodies[len(bodies)-p.like]
			}
			bodies, before = append(bodies, p.body), before+p.at
			return nil
		})
		for back := 1; back <= min(likeBack, len(bodies)); back++ {
			if bytes.Equal(body, bodies[len(bodies)-back]) {
				var room [4]byte
				body = appendNumber(room[:0], fieldLike, int64(back))
				break
			}
		}
	}
	var room [24]byte
	head := appendNumber(room[:0], fieldID, id-b.Last)
	head = appendNumber(head, fieldAt, int64(protowire.EncodeZigZag(at-before)))
	b.Steps = protowire.AppendTag(b.Steps, fieldStep, protowire.BytesType)
	b.Steps = protowire.AppendVarint(b.Steps, uint64(len(head)+len(body)))
	b.Steps = append(append(b.Steps, head...), body...)
	b.Last = id
	if end := provisioning.FromMillis(at); end.After(b.Ended) {
		b.Ended = end
	}
}

func appendNumber(b []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

// appendBody appends what an event tells but for its number and time.
func appendBody(b []byte, e *provisioning.Event) []byte {
	b = appendText(b, fieldStage, string(e.Stage))
	b = appendText(b, fieldDetail, e.Detail)
	b = appendText(b, fieldFile, e.File)
	if e.IPXE {
		b = appendNumber(b, fieldIPXE, 1)
	}
	b = appendText(b, fieldVia, e.Via)
	b = appendText(b, fieldVersion, e.Version)
	b = appendText(b, fieldSHA256, e.SHA256)
	if !e.Cause.IsZero() {
		text, err := json.Marshal(e.Cause)
		if err != nil {
			panic(err) // strings and numbers can always be written
		}
		b = appendText(b, fieldCause, string(text))
	}
	b = appendNumber(b, fieldHeld, int64(e.Held))
	b = appendNumber(b, fieldBytes, e.Bytes)
	b = appendNumber(b, fieldSize, e.Size)
	b = appendNumber(b, fieldDuration, int64(e.Duration))
	if e.Peer.IsValid() {
		b = appendText(b, fieldPeer, e.Peer.Unmap().String())
	}
	return b
}

// packed is a step as it is written.
type packed struct {
	id, at int64 // after the step before
	like   int   // so many steps before is the one whose body it has; 0: it has its own
	body   []byte
}

// each calls visit with each step, until that returns an error.
func each(steps []byte, visit func(packed) error) error {
	for len(steps) > 0 {
		_, _, tag := protowire.ConsumeTag(steps)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		step, n := protowire.ConsumeBytes(steps[tag:])
		if n < 0 {
			return protowire.ParseError(n)
		}
		steps = steps[tag+n:]
		var p packed
		for len(step) > 0 {
			field, _, tag := protowire.ConsumeTag(step)
			if tag < 0 {
				return protowire.ParseError(tag)
			}
			if field > fieldLike {
				break
			}
			v, n := protowire.ConsumeVarint(step[tag:])
			if n < 0 {
				return protowire.ParseError(n)
			}
			step = step[tag+n:]
			switch field {
			case fieldID:
				p.id = int64(v)
			case fieldAt:
				p.at = protowire.DecodeZigZag(v)
			case fieldLike:
				p.like = int(v)
			}
		}
		p.body = step
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

// Events returns the events of a boot, in order; with an error those before the damage.
func Events(b provisioning.BootRow) ([]provisioning.Event, error) {
	var events []provisioning.Event
	id, at := b.ID, provisioning.Millis(b.Began)
	err := each(b.Steps, func(p packed) error {
		e := provisioning.Event{}
		if p.like > len(events) || p.like < 0 {
			return fmt.Errorf("step %d is like the one %d before", len(events), p.like)
		}
		if p.like > 0 {
			e = events[len(events)-p.like]
		} else if err := readBody(p.body, &e); err != nil {
			return err
		}
		id, at = id+p.id, at+p.at
		e.ID, e.MAC, e.At = id, b.MAC, provisioning.FromMillis(at)
		events = append(events, e)
		return nil
	})
	if err != nil {
		err = fmt.Errorf("boot %d is damaged: %w", b.ID, err)
	}
	return events, err
}

func readBody(body []byte, e *provisioning.Event) error {
	for len(body) > 0 {
		field, kind, tag := protowire.ConsumeTag(body)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		n := protowire.ConsumeFieldValue(field, kind, body[tag:])
		if n < 0 {
			return protowire.ParseError(n)
		}
		value := body[tag : tag+n]
		body = body[tag+n:]
		switch kind {
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			switch field {
			case fieldIPXE:
				e.IPXE = v != 0
			case fieldHeld:
				e.Held = int(v)
			case fieldBytes:
				e.Bytes = int64(v)
			case fieldSize:
				e.Size = int64(v)
			case fieldDuration:
				e.Duration = time.Duration(v)
			}
		case protowire.BytesType:
			text, _ := protowire.ConsumeString(value)
			if err := readText(field, text, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func readText(field protowire.Number, text string, e *provisioning.Event) (err error) {
	switch field {
	case fieldStage:
		e.Stage = provisioning.Stage(text)
	case fieldDetail:
		e.Detail = text
	case fieldFile:
		e.File = text
	case fieldVia:
		e.Via = text
	case fieldVersion:
		e.Version = text
	case fieldSHA256:
		e.SHA256 = text
	case fieldCause:
		err = json.Unmarshal([]byte(text), &e.Cause)
	case fieldPeer:
		e.Peer, err = netip.ParseAddr(text)
	}
	return err
}

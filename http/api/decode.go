package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// maxBody is the longest body that one thing may take, in bytes: a node with the
// longest kernel line is under 10 KiB, escaped.
const maxBody = 64 << 10

// decodeBody reads the body of r, one JSON object, into what into points to. Errors
// say what is accepted instead.
func decodeBody(w http.ResponseWriter, r *http.Request, into any) error {
	if err := wantJSON(r); err != nil {
		return err
	}
	return decode(http.MaxBytesReader(w, r.Body, maxBody), into)
}

// decodeAnyBody is decodeBody where there need be no body: what into points to stays as it is then.
func decodeAnyBody(w http.ResponseWriter, r *http.Request, into any) error {
	body := bufio.NewReader(http.MaxBytesReader(w, r.Body, maxBody))
	if _, err := body.Peek(1); errors.Is(err, io.EOF) { // its length is not known before, if it is chunked
		return nil
	}
	if err := wantJSON(r); err != nil {
		return err
	}
	return decode(body, into)
}

// wantJSON refuses a body that its sender calls something else. What does not say, or
// says what curl -d and Python's urllib say of every body unless told otherwise, may be
// JSON: nothing here reads such a form.
func wantJSON(r *http.Request) error {
	h := r.Header.Get("Content-Type")
	if h == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(h)
	if err == nil && (media == "application/json" || media == "application/x-www-form-urlencoded") {
		return nil
	}
	return provisioning.Errorf(answer.UnsupportedMedia, "body with Content-Type %.60q: accepted is application/json", h)
}

// notAForm refuses a form with a file in it where the file itself is wanted; accepted
// says how that is sent. What else clients call a file is their own affair.
func notAForm(r *http.Request, accepted string) error {
	if h := r.Header.Get("Content-Type"); strings.HasPrefix(strings.ToLower(h), "multipart/") {
		return provisioning.Errorf(answer.UnsupportedMedia, "body with Content-Type %.60q: accepted is %s", h, accepted)
	}
	return nil
}

// decode reads one JSON value, and nothing behind it.
func decode(from io.Reader, into any) error {
	var text bytes.Buffer
	dec := json.NewDecoder(io.TeeReader(from, &text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return explain(err, known(&text, fields(reflect.TypeOf(into))))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		if err := tooLarge(err); err != nil {
			return err
		}
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: something follows the value")
	}
	return nil
}

func tooLarge(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return provisioning.Errorf(answer.TooLarge, "the body is longer than %d bytes, which is all that is accepted here", e.Limit)
	}
	return nil
}

// known refuses an object with other fields than those: encoding/json's error for that has
// no type.
func known(text io.Reader, fields []string) error {
	var object map[string]json.RawMessage
	if json.NewDecoder(text).Decode(&object) != nil {
		return nil // no object: what takes none says so
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, name) }) {
			return provisioning.Errorf(provisioning.Invalid, "bad JSON: unknown field %.60q: accepted are %s", name, strings.Join(fields, ", "))
		}
	}
	return nil
}

// explain says in words for people why a body could not be decoded; unknown is what known
// says of it.
func explain(err, unknown error) error {
	if refusal, ok := errors.AsType[*provisioning.Error](err); ok { // of a MAC address
		return refusal
	}
	if err := tooLarge(err); err != nil {
		return err
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := "the body"
		if e.Field != "" { // with the names of embedded structs in it, which nobody knows
			where = fmt.Sprintf("field %q", e.Field[strings.LastIndex(e.Field, ".")+1:])
		}
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: %s is %.60s: accepted is %s", where, e.Value, accepted(e.Type))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: %w (byte %d)", err, e.Offset)
	}
	switch {
	case unknown != nil:
		return unknown
	case errors.Is(err, io.EOF):
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: nothing is there")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: it ends too soon")
	default: // the connection broke
		return provisioning.Errorf(provisioning.Invalid, "bad JSON: %w", err)
	}
}

// accepted describes the JSON values that a type takes.
func accepted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint32:
		return "a whole number from 0 to 4294967295"
	case reflect.String, reflect.Array: // an array of octets: a MAC address
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a " + t.Kind().String()
	}
}

// same refuses a body that says it is of another thing than the path names; nil: it does not say.
// fixed is what of the thing that would change.
func same[T comparable](what, fixed string, path T, body *T) error {
	if body == nil || *body == path {
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "the body is of %s %s, the address of %v: %s cannot be changed", what, provisioning.Clip(fmt.Sprint(*body), 40), path, fixed)
}

// fields lists the names that a struct has in JSON.
func fields(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

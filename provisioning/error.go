package provisioning

import (
	"errors"
	"fmt"
)

// Code says what kind of refusal an [Error] is. One table in package http maps
// codes to status codes; the command line maps all of them to exit status 1.
type Code string

// The codes. Everything that is not an [Error] is [Internal].
const (
	Invalid      Code = "invalid"      // the request itself is wrong: tell its author what is accepted
	NotFound     Code = "not_found"    // well-formed, but there is no such thing
	Conflict     Code = "conflict"     // clashes with what is stored, or with a use of it
	Unauthorized Code = "unauthorized" // no valid credentials
	Forbidden    Code = "forbidden"    // valid credentials, but not for this
	Unavailable  Code = "unavailable"  // a part of us is missing or broken; trying again later may help
	Internal     Code = "internal"     // a fault of ours: logged in full, shown as nothing
)

// Error is a refusal whose Message may be shown to the person who asked: one
// line that says what was wrong and what is accepted.
type Error struct {
	Code    Code
	Message string
	Hint    string // what to do about it; may be empty
	Cause   Cause  // the fault, for programs; may be zero
	Err     error  // what led to it; may be nil

	told bool // Message has Err's text in it
}

// Error returns the message, and the hint behind it.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Unwrap returns what led to it.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] with that code. A %w verb sets Err, whose text becomes part of
// the message: the person who asked may read it.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err), told: true}
}

// Because makes an [Error] with that code from an error whose text is not for everybody:
// it may have host names, paths or a library's words in it. [Detail] shows it to those who
// mend the fault.
func Because(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// Detail returns the text of err and of the Err that its message does not show: for the
// log and the command line.
func Detail(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*Error](err); ok && e.Err != nil && !e.told {
		text += ": " + Detail(e.Err)
	}
	return text
}

// ErrorCode returns the code of the outermost [Error] in err's tree, [Internal]
// for any other error and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

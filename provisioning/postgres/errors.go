package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"farmboot/provisioning"
)

// explain turns an error of PostgreSQL into a [provisioning.Error] where it means
// something to people. Codes are those of appendix A of PostgreSQL's manual.
func explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return explainCode(e.Code, err)
	}
	unreachable := errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		unreachable = true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		unreachable = true
	}
	if unreachable {
		return provisioning.Because(provisioning.Unavailable, short{err}, "the PostgreSQL database cannot be reached")
	}
	return err
}

func explainCode(code string, err error) error {
	switch {
	case code == "23505": // unique_violation
		return provisioning.Because(provisioning.Conflict, err, "there is one already")
	case code == "23503": // foreign_key_violation
		return provisioning.Because(provisioning.Conflict, err, "something still refers to it, or it refers to something that is not there")
	case code == "25006": // read_only_sql_transaction
		return provisioning.Because(provisioning.Unavailable, short{err}, "the PostgreSQL database can only be read")
	case strings.HasPrefix(code, "08"), // connection exception
		strings.HasPrefix(code, "28"), // invalid authorization
		strings.HasPrefix(code, "53"), // insufficient resources, disk full among them
		strings.HasPrefix(code, "57"), // operator intervention
		strings.HasPrefix(code, "58"), // system error
		code == "3D000":               // no such database
		return provisioning.Because(provisioning.Unavailable, short{err}, "the PostgreSQL database does not do its work")
	}
	return err
}

// short writes the cause of an error alone, on one line: the driver tells of every attempt,
// and of each in all its layers.
type short struct{ error }

func (s short) Unwrap() error { return s.error }

func (s short) Error() string {
	if e, ok := errors.AsType[*pgconn.PgError](s.error); ok {
		return strings.Join(strings.Fields(e.Message), " ")
	}
	if e, ok := errors.AsType[*net.DNSError](s.error); ok {
		return e.Name + ": " + e.Err
	}
	if e, ok := errors.AsType[*net.OpError](s.error); ok && e.Addr != nil {
		if errno, ok := errors.AsType[syscall.Errno](e.Err); ok {
			return e.Addr.String() + ": " + errno.Error()
		}
		return e.Addr.String() + ": " + e.Err.Error()
	}
	return strings.Join(strings.Fields(s.error.Error()), " ")
}

package logonce_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/logonce"
)

func TestSeries(t *testing.T) {
	var log strings.Builder
	text := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	port := func(n int, errno syscall.Errno) error {
		return fmt.Errorf("listen on port %d: %w", n, errno)
	}
	s := logonce.Series{Log: slog.New(text), Level: slog.LevelWarn, Fault: "cannot", End: "can again"}
	quiet := logonce.Series{Log: s.Log, Level: slog.LevelError, Fault: "stuck"}
	for _, try := range []struct {
		series *logonce.Series
		err    error
		want   string
	}{
		{&s, nil, ""},
		{&s, port(69, syscall.EADDRINUSE), `level=WARN msg=cannot err="listen on port 69: address already in use"`},
		{&s, port(69, syscall.EADDRINUSE), ""},
		{&s, fmt.Errorf("at the second try: %w", syscall.EADDRINUSE), ""}, // the same in other words
		{&s, errors.Join(port(67, syscall.EADDRINUSE), port(69, syscall.EADDRINUSE)), `level=WARN msg=cannot err="listen on port 67: address already in use\nlisten on port 69: address already in use"`},
		{&s, errors.Join(port(69, syscall.EADDRINUSE), port(67, syscall.EADDRINUSE)), ""},
		{&s, port(69, syscall.EACCES), `level=WARN msg=cannot err="listen on port 69: permission denied"`},
		{&s, port(69, syscall.EADDRINUSE), ""}, // back and forth
		{&s, provisioning.Because(provisioning.Unavailable, errors.New("disk on fire"), "the database is away"), `level=WARN msg=cannot err="the database is away: disk on fire"`},
		{&s, nil, `level=INFO msg="can again"`},
		{&s, nil, ""},
		{&s, port(69, syscall.EADDRINUSE), `level=WARN msg=cannot err="listen on port 69: address already in use"`},
		{&quiet, provisioning.Errorf(provisioning.Invalid, "no cause"), `level=ERROR msg=stuck err="no cause"`},
		{&quiet, nil, ""},
		{&quiet, provisioning.Errorf(provisioning.Invalid, "no cause"), `level=ERROR msg=stuck err="no cause"`},
	} {
		log.Reset()
		try.series.Report(try.err)
		if got := strings.TrimSpace(log.String()); got != try.want {
			t.Errorf("after %v: %s, want %s", try.err, got, try.want)
		}
	}
}

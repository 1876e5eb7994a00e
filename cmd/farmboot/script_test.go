package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // makes the legacy database that a script imports
	"github.com/rogpeppe/go-internal/testscript"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/sqlite"
	"farmboot/setup/needs"
)

// TestMain lets scripts run "farmboot": the test binary, as main; and tests a daemon for
// which an hour is a minute.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"farmboot": main, "farmboot-hasty": hasty})
}

// haste is how many times faster a hasty daemon's clock goes.
const haste = 60

// hasty is main with such a clock.
func hasty() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	began := time.Now()
	now := func() time.Time { return began.Add(haste * time.Since(began)) }
	os.Exit(run(ctx, os.Args[1:], &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: now}))
}

// TestScripts runs testdata/script/*.txtar. Scripts are how people use the command
// line: read them as such.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			// $WEB is a web server that has the script's files.
			web := httptest.NewServer(http.FileServer(http.Dir(env.WorkDir)))
			env.Defer(web.Close)
			env.Setenv("WEB", web.URL)
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sql":    runSQL,
			"boot":   boot,
			"status": status,
			"kernel": makeKernel,
			"half":   half,
			"in-use": whileOpen,
		},
	})
}

// condition answers what a script leaves itself out by: "[!root] skip",
// "[!template] skip" where there are no iPXE binaries, and "[!sbverify] skip" where that
// program is missing.
func condition(name string) (bool, error) {
	has := false
	switch name {
	case "root":
		has = os.Geteuid() == 0
	case "template":
		_, err := os.Stat(needs.TemplateDir())
		has = err == nil
	case "sbverify":
		_, err := needs.Find(name)
		has = err == nil
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if !has && os.Getenv(needs.All) != "" {
		return false, fmt.Errorf("%s is missing, and %s lets nothing be left out", name, needs.All)
	}
	return has, nil
}

// runSQL runs "sql FILE STATEMENTS": SQL on a SQLite file, made if there is none.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENTS")
	}
	db, err := sql.Open("sqlite3", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(err)
	ts.Check(db.Close())
}

// boot runs "boot FILE MAC CODE": leaves in the database what a node leaves there
// that was held a minute ago.
func boot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: boot FILE MAC CODE")
	}
	mac, err := provisioning.ParseMAC(args[1])
	ts.Check(err)
	ctx := context.Background() // a script has none
	began := time.Now().Add(-time.Minute)
	s, err := sqlite.Open(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	err = s.Update(ctx, func(tx provisioning.Tx) error {
		err := tx.PutSeen(ctx, provisioning.Discovered{
			MAC: mac, Machine: provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient", UUID: "33221100-5544-7766-8899-aabbccddeeff"},
			FirstSeen: began, LastSeen: began, Boots: 1, Code: args[2],
		})
		if err != nil {
			return err
		}
		return boots.AddEvents(ctx, tx, []provisioning.Event{
			{At: began, MAC: mac, Stage: provisioning.StageDiscover, Detail: "UEFI x64, PXEClient"},
			{At: began.Add(time.Millisecond), MAC: mac, Stage: provisioning.StageOffer},
			{At: began.Add(2 * time.Second), MAC: mac, Stage: provisioning.StageBootServer, Detail: "ipxe.efi"},
			{At: began.Add(4 * time.Second), MAC: mac, Stage: provisioning.StageNBP, File: "ipxe.efi", Via: "TFTP", Bytes: 997_000, Size: 997_000},
			{At: began.Add(7 * time.Second), MAC: mac, Stage: provisioning.StageHold, Cause: provisioning.Cause{ID: provisioning.CauseHeld, Note: args[2]}},
		})
	})
	ts.Check(err)
	ts.Check(s.Close())
}

// makeKernel runs "kernel FILE TEXT": makes an EFI application that holds that text.
func makeKernel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: kernel FILE TEXT")
	}
	file := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(file, []byte(kerneltest.EFI(args[1])), 0o644))
	// As a release that was made some time ago: of one of this second, HTTP cannot tell
	// whether it is still the same.
	then := time.Now().Add(-time.Hour)
	ts.Check(os.Chtimes(file, then, then))
}

// half runs "half FILE COPY": makes a copy of the first half of a file.
func half(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: half FILE COPY")
	}
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text[:len(text)/2]), 0o644))
}

// status runs "status N ARGS…": farmboot ARGS with exit status N, and one line on
// stderr if it is not 0.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N ARGS…")
	}
	err := ts.Exec("farmboot", append([]string{"--config", "a.toml"}, args[1:]...)...)
	got := "0"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = strconv.Itoa(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
	if lines := strings.Count(ts.ReadFile("stderr"), "\n"); got != "0" && lines != 1 {
		ts.Fatalf("%d lines on stderr, want one", lines)
	}
}

// whileOpen runs "in-use FILE COMMAND…": a command that must fail, while a daemon has the
// database open.
func whileOpen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: in-use FILE COMMAND…")
	}
	ctx := context.Background()
	s, err := sqlite.Open(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = s.Nodes(ctx, provisioning.NodeQuery{})
	ts.Check(err)
	failed := ts.Exec(args[1], args[2:]...)
	ts.Check(s.Close())
	if failed == nil {
		ts.Fatalf("the command did not fail")
	}
}

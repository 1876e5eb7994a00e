package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/storetest"
)

// writerFile tells the test binary to be the writer that TestKill kills: the
// database it writes to.
const writerFile = "FARMBOOT_TEST_WRITER_FILE"

func TestMain(m *testing.M) {
	if file := os.Getenv(writerFile); file != "" {
		if err := write(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// write adds a thousand nodes, each with a line of history, from where the database
// ends, and acknowledges each with a line on stdout once it is stored.
func write(file string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, file)
	if err != nil {
		return err
	}
	nodes, err := s.Nodes(ctx, provisioning.NodeQuery{})
	if err != nil {
		return err
	}
	for i := len(nodes); i < len(nodes)+1000; i++ {
		err := s.Update(ctx, func(tx provisioning.Tx) error {
			if err := tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(i), RunMode: "prod"}); err != nil {
				return err
			}
			return tx.AddChange(ctx, provisioning.Change{At: storetest.Noon, Subject: storetest.MAC(i).String()})
		})
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
	return s.Close()
}

// TestKill kills a writer with SIGKILL after some of its 1,000 writes, at random,
// again and again: what it acknowledged is there, and nothing is there by half.
func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	for range 8 {
		acknowledged := killedWriter(t, file, 1+rand.IntN(300))
		s := open(t, file)
		nodes, err := s.Nodes(t.Context(), provisioning.NodeQuery{})
		if err != nil {
			t.Fatal(err)
		}
		changes, err := s.Changes(t.Context(), provisioning.ChangeQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes) <= acknowledged {
			t.Fatalf("write %d was acknowledged, but there are %d nodes", acknowledged, len(nodes))
		}
		if len(changes) != len(nodes) {
			t.Fatalf("%d nodes with %d lines of history", len(nodes), len(changes))
		}
	}
}

// killedWriter runs a writer, kills it when it has acknowledged so many writes, and
// returns the last that it did.
func killedWriter(t *testing.T, file string, writes int) (acknowledged int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writerFile+"="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if n == writes {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the writer came to its end before it was killed")
	}
	return acknowledged
}

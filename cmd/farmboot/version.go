package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile (-ldflags -X); empty: what the build knows.
var version string

type versionCmd struct {
	JSON bool `help:"As JSON."`
}

// Help implements [kong.HelpProvider].
func (versionCmd) Help() string {
	return `Example:

  farmboot version --json`
}

// Run prints the version of the program and of what it was built with.
func (c versionCmd) Run(e *env) error {
	if c.JSON {
		return printJSON(e.stdout, map[string]string{"version": versionString(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	_, err := fmt.Fprintln(e.stdout, versionLine())
	return err
}

func versionLine() string {
	return fmt.Sprintf("farmboot %s (%s, %s/%s)", versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func versionString() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
		return bi.Main.Version
	}
	return "unknown"
}

// Package installed knows where what belongs to the program lies on this host.
package installed

import (
	"os"
	"path/filepath"
	"sync"
)

// TemplateScript returns the path of template.sh, which gathers the iPXE binaries: where a
// package puts it, beside the program, as in an archive, or in the sources.
var TemplateScript = sync.OnceValue(func() string {
	program, _ := os.Executable() // without it, "template.sh" in the folder where we are
	return first("/usr/share/farmboot/template.sh", filepath.Join(filepath.Dir(program), "template.sh"))
})

// first returns the first of those files that is there; else where the sources have it.
func first(paths ...string) string {
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			return path
		}
	}
	return "setup/template.sh"
}

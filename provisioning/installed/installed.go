// Package installed knows where what belongs to the program lies on this host.
package installed

import (
	"os"
	"path/filepath"
)

// TemplateScript is the path of template.sh, which gathers the iPXE binaries.
var TemplateScript = templateScript(os.Executable())

// templateScript finds it for a program: packages and archives put it near their own; in the
// sources it has a folder of its own.
func templateScript(program string, err error) string {
	if err == nil {
		bin := filepath.Dir(program)
		for _, path := range []string{filepath.Join(bin, "../share/farmboot/template.sh"), filepath.Join(bin, "template.sh")} {
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
				return path
			}
		}
	}
	return "setup/template.sh"
}

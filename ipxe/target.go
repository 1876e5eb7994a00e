package ipxe

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// Target is what a boot script boots: the arguments R, F, X and K of a URL, or
// of a registered node.
type Target struct {
	RunMode provisioning.RunMode
	Farmer  provisioning.FarmerID // 0: none
	Args    string                // extra kernel arguments, as the kernel gets them
	Kernel  string                // kernel file name; "": the run mode's default
}

// MaxElements is how many path elements a target has at most.
const MaxElements = 4

// ParseTarget reads the path elements R[/F[/X[/K]]] as they stand in a URL, still
// percent-encoded. X and K are decoded once; "___" in X stands for "/", as old
// links write it. A number behind a run mode and two slashes is the farmer: nobody gives
// the kernel a number alone, but programs join URLs with a slash too many. It checks
// notation only: see [Composer.Cmdline] and
// ipxe/kernel for what X and K may say. Errors are [provisioning.Error]s.
func ParseTarget(elems []string) (Target, error) {
	var t Target
	if len(elems) > 2 && elems[1] == "" && isNumber(elems[2]) {
		elems = slices.Delete(slices.Clone(elems), 1, 2)
	}
	if len(elems) == 0 || len(elems) > MaxElements {
		return t, provisioning.Errorf(provisioning.NotFound, "a boot target is RUNMODE[/FARMER[/ARGS[/KERNEL]]], found %d elements", len(elems))
	}
	var dec [MaxElements]string
	for i, e := range elems {
		s, err := url.PathUnescape(e)
		if err != nil {
			return t, provisioning.Errorf(provisioning.Invalid, "bad percent-encoding %q: write %%25 for a percent sign", provisioning.Clip(e, 60))
		}
		dec[i] = s
	}
	t.RunMode = provisioning.RunMode(dec[0])
	if dec[1] != "" {
		id, err := provisioning.ParseFarmerID(dec[1])
		if err != nil {
			return t, err
		}
		t.Farmer = id
	}
	t.Args = strings.ReplaceAll(dec[2], "___", "/")
	t.Kernel = dec[3]
	return t, nil
}

// isNumber tells whether s is decimal digits and nothing else.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// KernelPath returns where t's kernel is below /kernel/: the file it names, or
// the default kernel of its run mode.
func (t Target) KernelPath() string {
	return cmp.Or(t.Kernel, kernel.DefaultOf(t.RunMode))
}

// NodeTarget is the target of a registered node, or of the default node.
func NodeTarget(n provisioning.Node) Target {
	return Target{RunMode: n.RunMode, Farmer: n.Farmer, Args: n.Args, Kernel: n.Kernel}
}

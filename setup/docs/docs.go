// Package docs is Farmboot's manual: a Markdown file for each subject, which the
// appliance serves as pages too, since a farm may have no Internet.
package docs

import "embed"

// Files are the manual's files, by name.
//
//go:embed *.md
var Files embed.FS

// Order is the order of the manual's subjects: names of files without ".md".
var Order = [...]string{"install", "container", "appliance", "network", "symptoms", "kernels", "secure-boot", "nodes", "several", "api", "moving", "upgrades"}

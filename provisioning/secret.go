package provisioning

import "regexp"

// secretWord is secret=… on a kernel command line, its value in quotes or not.
var secretWord = regexp.MustCompile(`\bsecret=("[^"]*"|'[^']*'|[^\s"']+)`)

// HideSecret replaces the value of secret=, which farms give their nodes on the
// kernel command line, in what goes to a log or onto a screen.
func HideSecret(text string) string { return secretWord.ReplaceAllString(text, "secret=***") }

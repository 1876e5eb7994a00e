package provisioning

import (
	"regexp"
	"strings"
)

// secretWord is secret=… on a kernel command line, its value in quotes or not.
var secretWord = regexp.MustCompile(`\bsecret=("[^"]*"|'[^']*'|[^\s"']+)`)

// HideSecret replaces the value of secret=, which farms give their nodes on the
// kernel command line, in what goes to a log or onto a screen.
func HideSecret(text string) string {
	if !strings.Contains(text, "secret=") { // every request asks
		return text
	}
	return secretWord.ReplaceAllString(text, "secret=***")
}

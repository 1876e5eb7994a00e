// Package packaging makes archives, packages and images: it is shell scripts, and Go for
// the tests of what they make ("make package-test").
package packaging

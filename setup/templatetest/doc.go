// Package templatetest tests setup/template.sh. It is made of tests alone, which take
// longer than all others of setup.
package templatetest

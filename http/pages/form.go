package pages

import (
	"cmp"
	"html/template"
	"net/url"
	"slices"
	"strings"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// form is what was typed, as it was typed, and what is wrong with it by field.
type form struct {
	url.Values
	Errors map[string]string
}

func newForm(v url.Values) form { return form{v, map[string]string{}} }

// Text is the field's value, without space around it.
func (f form) Text(field string) string { return strings.TrimSpace(f.Get(field)) }

// Or is the field's value, or other where it is empty.
func (f form) Or(field, other string) string {
	return cmp.Or(f.Text(field), other)
}

// Error is what is wrong with a field; empty: nothing.
func (f form) Error(field string) string { return f.Errors[field] }

// fieldOrder is the order in which forms have their fields.
var fieldOrder = []string{
	"token", "machine", "mac", "list", "id", "role", "farmer", "runmode", "kernel", "nbp", "exit", "expires", "name", "args", "format", "arch", "scheme", "file",
}

// Invalid marks a field that has a mistake. The first of them gets the focus
// when the page opens.
func (f form) Invalid(field string) template.HTMLAttr {
	if f.Errors[field] == "" {
		return ""
	}
	first := slices.IndexFunc(fieldOrder, func(name string) bool { return f.Errors[name] != "" })
	if first >= 0 && fieldOrder[first] == field {
		return ` aria-invalid="true" autofocus`
	}
	return ` aria-invalid="true"`
}

// farmer reads a farmer id; an empty field is none.
func (f form) farmer(field string) provisioning.FarmerID {
	id, err := provisioning.ParseOwner(f.Text(field))
	if err != nil {
		f.Errors[field] = badFarmer
	}
	return id
}

// runMode reads the run mode.
func (f form) runMode(known provisioning.RunModes, other string) provisioning.RunMode {
	m := provisioning.RunMode(f.Or("runmode", other))
	if err := known.Check(m); err != nil {
		f.Errors["runmode"] = answer.PublicMessage(err)
	}
	return m
}

// oneOf reads a choice; anything else is an error in the field.
func (f form) oneOf(field, other string, accepted []choice) string {
	s := f.Or(field, other)
	if slices.ContainsFunc(accepted, func(c choice) bool { return c.Value == s }) {
		return s
	}
	f.Errors[field] = "not offered here: choose one from the list"
	return other
}

// NBPs are the network boot programs to choose from, on every form of a node.
func (form) NBPs() []choice { return nbps }

// choice is one of several that a field offers.
type choice struct {
	Value, Title, Text string
	Checked            bool
	Missing            string // of a run mode: why it has no kernel, to be read behind its name; "": it has one
	Broken             bool   // because what should lead to its kernel does not
	Doubt              string // of a run mode: why the kernel that it has may be none; "": it is one
}

// checked returns the choices with the one of that value checked.
func checked(cs []choice, value string) []choice {
	marked := make([]choice, len(cs))
	for i, c := range cs {
		c.Checked = c.Value == value
		marked[i] = c
	}
	return marked
}

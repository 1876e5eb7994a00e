package ipxe

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

// maxCmdline is the longest kernel command line, in bytes, that we compose. The
// x86 limit is 2,048 with the kernel's built-in line (COMMAND_LINE_SIZE).
const maxCmdline = 1900

// ours are the keys that a command line has once, and from us: the version from
// [boot] kernel-args, the others from the composer.
var ours = []string{"runmode", "version", "farmer_id"}

// Composer writes kernel command lines. It is the one place that does: for
// scripts, images and registered nodes alike.
type Composer struct {
	KernelArgs string                // how every line starts: [boot] kernel-args, as [CheckKernelArgs] accepts them
	RunModes   provisioning.RunModes // the run modes there are
}

// Cmdline returns the kernel command line of t,
//
//	<kernel-args> runmode=R[ farmer_id=F][ X]
//
// or an [provisioning.Error] that names what in t cannot be on such a line: an
// unknown run mode, arguments that [CheckArgs] refuses, or too many of them.
func (c Composer) Cmdline(t Target) (string, error) {
	if err := c.RunModes.Check(t.RunMode); err != nil {
		return "", err
	}
	return c.line(t)
}

// line is Cmdline, whatever the run mode.
func (c Composer) line(t Target) (string, error) {
	x := strings.Trim(t.Args, " ")
	if err := CheckArgs(x); err != nil {
		return "", err
	}
	var b strings.Builder
	if c.KernelArgs != "" {
		b.WriteString(c.KernelArgs + " ")
	}
	fmt.Fprintf(&b, "runmode=%s", t.RunMode)
	if t.Farmer != 0 {
		fmt.Fprintf(&b, " farmer_id=%s", t.Farmer)
	}
	if x != "" {
		b.WriteString(" " + x)
	}
	if b.Len() > maxCmdline {
		return "", cause.Error(provisioning.Invalid, provisioning.Cause{ID: provisioning.CauseCmdlineTooLong, Size: int64(b.Len()), Limit: maxCmdline})
	}
	return b.String(), nil
}

// CheckArgs refuses extra kernel arguments that would not reach Zero-OS as they
// were typed, or that would reach more than the kernel: what iPXE would expand or
// take for a second command, what ends a line, and what one of Zero-OS' two
// parsers would read differently from the other. The error is an
// [provisioning.Error] with code [provisioning.Invalid].
func CheckArgs(x string) error { return checkArgs(x, "") }

// CheckKernelArgs refuses what cannot be the start of every kernel command line, by
// the rules of [CheckArgs]; but the version comes from here, once.
func CheckKernelArgs(x string) error { return checkArgs(x, "version") }

// checkArgs is CheckArgs, but that the key once may be set one time; "": none may.
func checkArgs(x, once string) error {
	refuse := func(format string, args ...any) error {
		return cause.Error(provisioning.Invalid, provisioning.Cause{ID: provisioning.CauseArgs, Note: fmt.Sprintf(format, args...)})
	}
	if !utf8.ValidString(x) {
		return refuse("not valid UTF-8")
	}
	for _, r := range x {
		if unicode.IsControl(r) {
			return refuse("control character %U; accepted is one line of printable text", r)
		}
	}
	for _, r := range x {
		if what := disguised(r); what != "" {
			return refuse("%s (%U), which is not what it looks like; type it again", what, r)
		}
	}
	if strings.Contains(x, "${") {
		return refuse("%q would be expanded by iPXE; write arguments without it", "${")
	}
	// iPXE splits its command lines at white space and knows no quotes.
	for _, w := range strings.Fields(x) {
		switch {
		case operator(w):
			return refuse("a free-standing %q would end the command in iPXE; write it without spaces around it or leave it out", w)
		case w[0] == '#': // booted: it cut the line, in quotes too
			return refuse("a word that begins with '#' is a comment for iPXE, in quotes too, and would hide the rest of the line; write it without a space before the '#'")
		}
	}
	words, err := Words(x)
	if err != nil {
		return refuse("%v", err)
	}
	if k := setAgain(words, once); k != "" {
		return refuse("a second %q; the appliance sets it once", k+"=")
	}
	if i := slices.IndexFunc(words, func(w string) bool { return slices.Contains(ours, w) }); i >= 0 {
		return refuse("%q without a value, which would take the place of the appliance's own; leave it out", words[i])
	}
	// A parser that knows no quotes finds words inside quoted ones too.
	if k := setAgain(strings.Fields(strings.NewReplacer(`"`, " ", `'`, " ").Replace(x)), once); k != "" {
		return refuse("a second %q, in quotes; the appliance sets it once", k+"=")
	}
	return nil
}

// disguised names a character that looks like another, or like none, and comes with text
// that was copied from a page or a word processor; "" if r is no such character.
func disguised(r rune) string {
	if r <= unicode.MaxASCII {
		return ""
	}
	switch {
	case r == '\u2028' || r == '\u2029':
		return "a line or paragraph separator"
	case r == '\ufeff':
		return "a byte order mark, which is invisible"
	case unicode.Is(unicode.Bidi_Control, r):
		return "an invisible mark that turns the direction of writing"
	case r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\u2800' || r == '\uffa0':
		return "a space without ink"
	case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return "an invisible character"
	case unicode.Is(unicode.Zs, r):
		return "a space that is none for the kernel, such as a no-break space"
	case strings.ContainsRune("\u2018\u2019\u201a\u201b\u2032\u2035\u00b4\u02b9\u02bc\uff07", r):
		return "a curly quote, where the kernel reads ' only"
	case strings.ContainsRune("\u201c\u201d\u201e\u201f\u2033\u2036\u02ba\u02ee\u301d\u301e\u301f\uff02", r):
		return "a curly quote, where the kernel reads \" only"
	case unicode.In(r, unicode.Pd) || r == '\u2212':
		return "a dash or minus sign, where the kernel reads - only"
	case r >= '\uff01' && r <= '\uff5e': // fullwidth forms stand in the order of ASCII
		return fmt.Sprintf("a wide character, where the kernel reads %c only", r-0xff01+'!')
	case r == '\ufffd':
		return "a replacement character: the text was damaged on its way"
	case unicode.In(r, unicode.Co, unicode.Noncharacter_Code_Point):
		return "a character without a meaning"
	}
	return ""
}

// operator tells whether a word ends one command for iPXE, and begins another (iPXE
// exec.c, command_terminator).
func operator(word string) bool { return word == "&&" || word == "||" || word == ";" }

// setAgain returns the key of ours that one of the words sets, "" if none does. The
// first one that sets the key once does not count.
func setAgain(words []string, once string) string {
	for _, w := range words {
		key, _, assigned := strings.Cut(w, "=")
		switch {
		case !assigned || !slices.Contains(ours, key):
		case key == once:
			once = ""
		default:
			return key
		}
	}
	return ""
}

// Words splits a kernel command line into words as Zero-OS' shell-like parser
// does, quotes removed. Where that parser would silently drop the rest of the
// line (an unbalanced quote, an unquoted '#'), or where the kernel's own parser
// (which knows only double quotes) would disagree about where a quoted part ends,
// it returns an error that says so.
func Words(line string) ([]string, error) {
	const plain, single, double rune = 0, '\'', '"'
	var words []string
	var word strings.Builder
	inWord := false
	state := plain
	escaped := false
	kernelQuotes := 0
	for _, r := range line {
		if r == '"' {
			kernelQuotes++
		}
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && state != single:
			escaped, inWord = true, true
		case state != plain && r == state:
			state = plain
		case state != plain:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			state, inWord = r, true
		case r == '#':
			return nil, fmt.Errorf("an unquoted '#' would hide the rest of the line; put quotes around the value")
		case r == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	switch {
	case state == single:
		return nil, fmt.Errorf("unbalanced quotes: a ' has no partner")
	case state == double || kernelQuotes%2 != 0:
		return nil, fmt.Errorf("unbalanced quotes: a \" has no partner")
	case escaped:
		return nil, fmt.Errorf("unbalanced quotes: a \\ at the end quotes nothing")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

package registry

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"farmboot/provisioning"
)

// columns are those of a CSV file of nodes, in the order in which WriteCSV writes
// them.
var columns = []string{"mac", "farmer", "runmode", "args", "kernel", "name", "nbp", "exit"}

// inventory are the columns that tell of machines. An import reads over them.
var inventory = []string{"address", "serial", "manufacturer", "product", "uuid", "nic_maker", "arch", "firmware", "last_boot"}

// ReadCSV reads nodes from CSV (RFC 4180) with a header line. The columns are mac,
// farmer, runmode, args, kernel, name, nbp and exit, in any order; only mac must be there. A
// column that is missing, or a run mode that is empty, leaves a registered node's
// as it is; an empty farmer is none. What an export tells of machines is read over. Lines whose fields are all empty are skipped. The
// apostrophe that [WriteCSV] puts before a formula is taken off. Columns without a name are
// read over if nothing is in them. A line that cannot be
// read becomes a [provisioning.Row] with Err; the error is that of the whole file, an [provisioning.Error] with
// code [provisioning.Invalid].
func ReadCSV(from io.Reader) ([]provisioning.Row, error) {
	text, err := asUTF8(bufio.NewReader(from))
	if err != nil {
		return nil, err
	}
	text = withLineFeeds(text)
	lines := lineReader{text: text}
	if lines.line, err = skipSeparatorLine(text); err != nil {
		return nil, err
	}
	for _, check := range []func(*bufio.Reader) error{checkFormat, checkText, checkNames, checkSeparator} {
		if err := check(text); err != nil {
			return nil, err
		}
	}
	header, err := lines.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, provisioning.Errorf(provisioning.Invalid, "the CSV file is empty: its first line must name the columns %s", strings.Join(columns, ","))
	case err != nil:
		return nil, provisioning.Errorf(provisioning.Invalid, "read CSV: %w", err)
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	var rows []provisioning.Row
	for {
		record, err := lines.next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		var fault *provisioning.Error
		if err != nil && (!errors.As(err, &fault) || errors.Is(err, errTornUTF16)) {
			return nil, provisioning.Errorf(provisioning.Invalid, "read CSV: %w", err)
		}
		if fault == nil && empty(record) { // spreadsheets append such lines
			continue
		}
		if len(rows) == provisioning.MaxRows {
			return nil, provisioning.Errorf(provisioning.Invalid, "the CSV file has more than %d lines: import it in parts", provisioning.MaxRows)
		}
		row := provisioning.Row{Line: lines.line}
		if fault != nil {
			row.Err = fault
		} else {
			row = parseRow(lines.line, header, record)
		}
		row.Err = lines.about(row.Err)
		rows = append(rows, row)
	}
}

// maxLine is how long a line may be, in bytes: the longest kernel line fits in it.
const maxLine = 16 << 10

// lineReader reads one line at a time. No field of ours has a line break in it, so a
// quote that has no partner spoils its own line only.
type lineReader struct {
	text *bufio.Reader
	line int  // of what was read last, from 1
	open int  // line before it that leaves a quote open, which none between closes; 0: none
	odd  bool // the last line has an odd number of quotes: it opens a field, or closes one
}

// next returns the fields of the next line that is not blank. An error that is a
// [provisioning.Error] is about this line alone.
func (l *lineReader) next() ([]string, error) {
	for {
		l.line++
		line, err := l.text.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return nil, err
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		l.odd = strings.Count(line, `"`)%2 == 1
		switch {
		case line == "":
			continue
		case len(line) > maxLine:
			return nil, provisioning.Errorf(provisioning.Invalid, "the line has %d bytes: at most %d are accepted", len(line), maxLine)
		case !utf8.ValidString(line):
			return nil, provisioning.Errorf(provisioning.Invalid, "the line is not UTF-8: the file was saved in another encoding, such as Windows-1252; save it as CSV UTF-8")
		case !strings.Contains(line, `"`):
			return strings.Split(line, ","), nil
		}
		in := csv.NewReader(strings.NewReader(line))
		in.FieldsPerRecord = -1 // said better by parseRow
		record, err := in.Read()
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			if closes(line) && l.open == 0 {
				l.open = l.line
				return nil, provisioning.Errorf(provisioning.Invalid, "a field begins with a quote and does not end with one in this line: no field may have a line break in it")
			}
			return nil, provisioning.Errorf(provisioning.Invalid, "at character %d: %w; write a quote within quotes twice", e.Column, e.Err)
		}
		return record, err
	}
}

// closes tells whether a line that cannot be read lacks nothing but a quote at its end.
func closes(line string) bool {
	in := csv.NewReader(strings.NewReader(line + `"`))
	in.FieldsPerRecord = -1
	_, err := in.Read()
	return err == nil
}

// about says of a fault that its line may be no line of its own.
func (l *lineReader) about(fault error) error {
	open := l.open
	if open == 0 || open == l.line {
		return fault
	}
	if fault == nil || l.odd {
		l.open = 0
	}
	if fault == nil {
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "%w (it may belong to the field that line %d leaves open)", fault, open)
}

// asUTF8 returns text without its byte order mark, and of UTF-16 with one makes UTF-8:
// spreadsheets write that as "Unicode text". What is no CSV file at all, or in an encoding
// that no spreadsheet writes, is refused for what it is.
func asUTF8(text *bufio.Reader) (*bufio.Reader, error) {
	head, _ := text.Peek(8)
	var order unicode.Endianness
	switch {
	case bytes.HasPrefix(head, []byte(byteOrderMark)):
		_, err := text.Discard(len(byteOrderMark))
		return text, err
	case bytes.HasPrefix(head, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(head, []byte{0, 0, 0xfe, 0xff}), zeros(head, 0, 1, 1, 1), zeros(head, 1, 1, 1, 0):
		return nil, provisioning.Errorf(provisioning.Invalid, "the file is UTF-32: save it as CSV UTF-8")
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		order = unicode.LittleEndian
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		order = unicode.BigEndian
	case zeros(head, 0, 1, 0, 1), zeros(head, 1, 0, 1, 0):
		return nil, provisioning.Errorf(provisioning.Invalid, "the file looks like UTF-16 without a byte order mark: save it as CSV UTF-8")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		return nil, provisioning.Errorf(provisioning.Invalid, "the file is a workbook of a spreadsheet, or an archive: save the sheet as CSV UTF-8")
	default:
		return text, nil
	}
	if _, err := text.Discard(2); err != nil {
		return nil, err
	}
	return bufio.NewReader(transform.NewReader(&pairs{from: text}, unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder())), nil
}

// zeros tells whether the first four bytes of head are zero where is has 1, and only there:
// where ASCII has them in an encoding of two or four bytes.
func zeros(head []byte, is ...byte) bool {
	return len(head) >= len(is) && !slices.ContainsFunc([]int{0, 1, 2, 3}, func(i int) bool { return (head[i] == 0) != (is[i] == 1) })
}

// checkFormat refuses what begins as a format that is no CSV. It takes nothing from the text.
func checkFormat(text *bufio.Reader) error {
	head, _ := text.Peek(text.Size())
	var format string
	switch head = bytes.TrimSpace(head); {
	case len(head) == 0:
		return nil
	case head[0] == '[', head[0] == '{':
		format = "JSON does, which the API takes (POST /api/v1/nodes/import)"
	case head[0] == '<':
		format = "a web page or XML does"
	case bytes.HasPrefix(head, []byte("%PDF")):
		format = "a PDF does"
	default:
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "the file begins as %s: accepted is CSV, whose first line names the columns %s", format, strings.Join(columns, ","))
}

// checkNames refuses a text whose first line is not of several columns, and names none either: of
// other lists [checkHeader] says more. It takes nothing from the text.
func checkNames(text *bufio.Reader) error {
	head, _ := text.Peek(text.Size())
	line, _, _ := strings.Cut(strings.TrimSpace(string(head)), "\n")
	line = strings.TrimSpace(line)
	words := strings.FieldsFunc(strings.ToLower(line), func(r rune) bool { return strings.ContainsRune("| \"", r) })
	switch {
	case line == "", !utf8.ValidString(line): // nothing, or another encoding
		return nil
	case strings.ContainsAny(line, ",;\t"), slices.ContainsFunc(words, isColumn), isNode(strings.Trim(line, `"`)):
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "the file is no list of nodes: its first line is %q; accepted is CSV, whose first line names the columns %s", provisioning.Clip(line, 40), strings.Join(columns, ","))
}

// isColumn tells whether a list of nodes may have a column of that name, in lower case.
func isColumn(name string) bool {
	return slices.Contains(columns, name) || slices.Contains(inventory, name)
}

// isNode tells whether the name of a column is a node's MAC address, maybe mistyped: the line that
// names the columns is missing.
func isNode(name string) bool {
	_, notMAC := provisioning.ParseMAC(name)
	return notMAC == nil || provisioning.MeantAsMAC(name, 11)
}

// checkText refuses what is no text, by its first line: control characters, or bytes that
// are not UTF-8 where zero bytes follow. It takes nothing from the text.
func checkText(text *bufio.Reader) error {
	head, _ := text.Peek(text.Size()) // or all that there is
	line, _, _ := bytes.Cut(head, []byte("\n"))
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' }
	if bytes.ContainsFunc(line, control) || !utf8.Valid(line) && bytes.IndexByte(head, 0) >= 0 {
		return provisioning.Errorf(provisioning.Invalid, "the file is no CSV text: there are bytes in it that no text has, or it is in an encoding other than UTF-8; accepted is CSV UTF-8, whose first line names the columns %s", strings.Join(columns, ","))
	}
	return nil
}

// withLineFeeds returns text with line feeds for carriage returns, if a carriage return
// alone ends its first line: so old spreadsheets for the Macintosh write.
func withLineFeeds(text *bufio.Reader) *bufio.Reader {
	head, _ := text.Peek(text.Size())
	if i := bytes.IndexAny(head, "\r\n"); i >= 0 && head[i] == '\r' && i+1 < len(head) && head[i+1] != '\n' {
		return bufio.NewReader(lineFeeds{text})
	}
	return text
}

// lineFeeds reads carriage returns as line feeds.
type lineFeeds struct{ from io.Reader }

// Read implements [io.Reader].
func (l lineFeeds) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// skipSeparatorLine reads over a first line that tells spreadsheets which separator the
// file has, as in "sep=,", and returns how many lines it was. One other than ours is refused.
func skipSeparatorLine(text *bufio.Reader) (lines int, err error) {
	head, _ := text.Peek(text.Size())
	line, _, _ := bytes.Cut(head, []byte("\n"))
	value, ok := strings.CutPrefix(strings.ToLower(strings.Trim(string(line), "\"\r ")), "sep=")
	switch {
	case !ok:
		return 0, nil
	case value != ",":
		return 0, wrongSeparator(value)
	}
	_, err = text.Discard(min(len(line)+1, len(head)))
	return 1, err
}

// pairs reads bytes, of which there must be an even number.
type pairs struct {
	from io.Reader
	odd  bool // so far
}

// Read implements [io.Reader].
func (p *pairs) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.odd = p.odd != (n%2 == 1)
	if err == io.EOF && p.odd {
		err = errTornUTF16
	}
	return n, err
}

var errTornUTF16 = provisioning.Errorf(provisioning.Invalid, "the file ends within a character of UTF-16")

// byteOrderMark is what spreadsheets put in front of UTF-8 text.
const byteOrderMark = "\ufeff"

// checkSeparator refuses a first line that has no commas, but what spreadsheets of
// some countries write in their place. It takes nothing from the text.
func checkSeparator(text *bufio.Reader) error {
	head, _ := text.Peek(text.Size()) // or all that there is
	line, _, _ := strings.Cut(string(head), "\n")
	if i := strings.IndexAny(line, ";\t"); i >= 0 && !strings.Contains(line, ",") {
		return wrongSeparator(line[i : i+1])
	}
	return nil
}

func wrongSeparator(by string) error {
	switch {
	case by == "\t":
		by = "tabs"
	case len(by) != 1:
		by = "something else"
	}
	return provisioning.Errorf(provisioning.Invalid, "the columns of the first line are separated by %s instead of commas, as in mac,farmer", by)
}

// empty tells whether nothing is in a line.
func empty(record []string) bool {
	return !slices.ContainsFunc(record, func(field string) bool { return strings.TrimSpace(field) != "" })
}

// checkHeader normalises the names of columns, and refuses those that do not exist.
func checkHeader(header []string) error {
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if header[i] = name; name == "" { // spreadsheets append such columns
			continue
		}
		if !isColumn(name) {
			if isNode(name) {
				return provisioning.Errorf(provisioning.Invalid, "the first line is a node's, %s: put a line before it that names the columns, as mac,farmer,runmode", provisioning.Clip(name, 40))
			}
			return provisioning.Errorf(provisioning.Invalid, "unknown column %q in the first line: accepted are %s", provisioning.Clip(name, 40), strings.Join(columns, ","))
		}
		if slices.Contains(header[:i], name) {
			return provisioning.Errorf(provisioning.Invalid, "column %q is there twice", name)
		}
	}
	if !slices.Contains(header, "mac") {
		return provisioning.Errorf(provisioning.Invalid, "no column mac in the first line: accepted are %s", strings.Join(columns, ","))
	}
	return nil
}

func parseRow(line int, header, record []string) provisioning.Row {
	row := provisioning.Row{Line: line}
	if len(record) != len(header) {
		row.Err = provisioning.Errorf(provisioning.Invalid, "%d fields, but the first line names %d columns", len(record), len(header))
		return row
	}
	for i, name := range header {
		if slices.Contains(inventory, name) {
			continue
		}
		if name == "" {
			if strings.TrimSpace(record[i]) != "" && row.Err == nil {
				row.Err = provisioning.Errorf(provisioning.Invalid, "%q is in a column that the first line does not name", provisioning.Clip(record[i], 40))
			}
			continue
		}
		if err := row.Set(name, plain(record[i])); err != nil && row.Err == nil {
			row.Err = err
		}
	}
	return row
}

// harmless is text as a field that no spreadsheet takes for a formula: a farmer
// chooses the name of his node, and an admin opens the list. [plain] undoes it.
func harmless(text string) string {
	if isFormula(strings.TrimLeft(text, apostrophe)) {
		return apostrophe + text
	}
	return text
}

// plain undoes [harmless].
func plain(field string) string {
	if text, ok := strings.CutPrefix(field, apostrophe); ok && isFormula(strings.TrimLeft(text, apostrophe)) {
		return text
	}
	return field
}

// apostrophe before a formula makes text of it.
const apostrophe = "'"

// isFormula tells whether spreadsheets would calculate text (OWASP, CSV injection).
func isFormula(text string) bool {
	return text != "" && strings.IndexByte("=+-@\t\r", text[0]) >= 0
}

// Machines tells what is known of machines by their MAC addresses.
type Machines func([]provisioning.MAC) (map[provisioning.MAC]provisioning.Discovered, error)

// Extra is what [WriteCSV] writes besides.
type Extra struct {
	Exit     bool     // the column exit, which older programs do not know
	Machines Machines // what is known of machines; nil: nothing
}

// csvPage is of how many nodes the machines are looked up at a time.
const csvPage = 1000

// WriteCSV writes nodes as [ReadCSV] reads them, with an apostrophe before what a
// spreadsheet would take for a formula. It ends at their first error.
func WriteCSV(to io.Writer, nodes iter.Seq2[provisioning.Node, error], extra Extra) error {
	out := csv.NewWriter(to)
	machines := extra.Machines
	header := columns[:len(columns)-1]
	if extra.Exit {
		header = columns
	}
	if machines != nil {
		header = slices.Concat(header, inventory)
	}
	_ = out.Write(header) // errors stay until Flush
	page := make([]provisioning.Node, 0, csvPage)
	write := func() error {
		var seen map[provisioning.MAC]provisioning.Discovered
		if machines != nil && len(page) > 0 {
			var err error
			if seen, err = machines(provisioning.MACsOf(page)); err != nil {
				return err
			}
		}
		for _, n := range page {
			record := nodeFields(n)
			if !extra.Exit {
				record = record[:len(record)-1]
			}
			if machines != nil {
				record = append(record, machineFields(seen[n.MAC])...)
			}
			_ = out.Write(record)
		}
		page = page[:0]
		return nil
	}
	for n, err := range nodes {
		if err != nil {
			return err
		}
		if page = append(page, n); len(page) == csvPage {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if err := write(); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// nodeFields are the fields of a node, in the order of columns: exit is the last.
func nodeFields(n provisioning.Node) []string {
	farmer, exit := "", ""
	if n.Farmer != 0 {
		farmer = n.Farmer.String()
	}
	if n.Exit {
		exit = "yes"
	}
	return []string{n.MAC.String(), farmer, string(n.RunMode), harmless(n.Args), harmless(n.Kernel), harmless(n.Name), string(n.NBP), exit}
}

// machineFields are the fields of a machine, in the order of inventory.
func machineFields(d provisioning.Discovered) []string {
	last := ""
	if !d.LastSeen.IsZero() {
		last = d.LastSeen.UTC().Format(time.RFC3339)
	}
	return []string{d.Address, harmless(d.Serial), harmless(d.Manufacturer), harmless(d.Product), harmless(d.UUID), harmless(d.Vendor), harmless(d.Arch), harmless(d.Firmware), last}
}

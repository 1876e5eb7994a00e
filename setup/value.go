package setup

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"farmboot/provisioning"
	"farmboot/setup/alert"
)

// reader makes of a value that the TOML library decoded what is stored of it. The error is
// an [accepted], or says all by itself.
type reader[T any] = func(value any) (T, error)

// accepted says what a key accepts; what was found instead is shown behind it.
type accepted string

// Error implements error.
func (a accepted) Error() string { return "accepted is " + string(a) }

// only returns a unless good.
func only(good bool, a accepted) error {
	if good {
		return nil
	}
	return a
}

func boolean(v any) (bool, error) {
	b, ok := v.(bool)
	return b, only(ok, "true or false")
}

// text reads one printable line.
func text(v any) (string, error) {
	s, ok := v.(string)
	return s, cmp.Or(only(ok, "text in quotes"), only(!strings.ContainsFunc(s, unicode.IsControl), "one line of printable text"))
}

// nonempty reads text that is not blank.
func nonempty(a accepted) reader[string] {
	return func(v any) (string, error) {
		s, err := text(v)
		return s, cmp.Or(err, only(strings.TrimSpace(s) != "", a))
	}
}

var path = nonempty("a path")

// parsing reads text, which becomes what parse makes of it.
func parsing(parse func(string) (string, error)) reader[string] {
	return func(v any) (string, error) {
		s, err := text(v)
		if err != nil {
			return s, err
		}
		return parse(s)
	}
}

// arguments reads kernel arguments that check does not refuse, without spaces around them.
func arguments(check func(string) error) reader[string] {
	return parsing(func(s string) (string, error) {
		s = strings.Trim(s, " ") // first: the space behind a \ matters
		return s, check(s)
	})
}

// matching reads text that good tells of.
func matching(good func(string) bool, a accepted) reader[string] {
	return func(v any) (string, error) {
		s, _ := v.(string)
		return s, only(good(s), a)
	}
}

// optional reads "" as nothing, and all else as read does.
func optional[T any](read reader[T]) reader[T] {
	return func(v any) (T, error) {
		if v == "" {
			var nothing T
			return nothing, nil
		}
		return read(v)
	}
}

// number reads a whole number from low to high.
func number[N ~int | ~uint16 | ~uint32](low, high int64, a accepted) reader[N] {
	return func(v any) (N, error) {
		n, ok := v.(int64)
		return N(n), only(ok && low <= n && n <= high, a)
	}
}

var port = number[uint16](1, 65535, "a port, a whole number from 1 to 65535")

// oneOf reads one of some words.
func oneOf[S ~string](words ...S) reader[S] {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(string(w))
	}
	last := len(quoted) - 1
	return func(v any) (S, error) {
		s, _ := v.(string)
		return S(s), only(slices.Contains(words, S(s)), accepted(strings.Join(quoted[:last], ", ")+" or "+quoted[last]))
	}
}

// duration reads a time span as Go writes it, of least or more.
func duration(least time.Duration) reader[time.Duration] {
	return func(v any) (time.Duration, error) {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		return d, only(err == nil && d >= least, accepted(fmt.Sprintf(`a time span of %s or more, as "6h" or "30m"`, least)))
	}
}

// database reads the path of a SQLite file, or the URL of a PostgreSQL database.
func database(v any) (string, error) {
	s, err := path(v)
	if err != nil {
		return s, err
	}
	s, wrong := ParseDatabase(s)
	return s, only(wrong == "", "the path of a SQLite file, or a postgres:// URL")
}

// ParseDatabase reads the path of a SQLite file, or the URL of a PostgreSQL database, whose
// scheme may be in capitals (RFC 3986 section 3.1). wrong is how what is neither begins.
func ParseDatabase(s string) (database, wrong string) {
	if scheme, rest, isURL := strings.Cut(s, "://"); isURL {
		database = strings.ToLower(scheme) + "://" + rest
		if !(Provisioning{Database: database}).Postgres() {
			return s, scheme + "://"
		}
		return database, ""
	}
	return s, noDatabase.FindString(s)
}

// noDatabase is how the name of no file begins, but a URL that is mistyped or of another
// program, or a connection string of libpq (key=value).
var noDatabase = regexp.MustCompile(`^(?i:(postgres|postgresql|sqlite|sqlite3|mysql|mariadb|jdbc|file)(:/*|//+)|(host|hostaddr|port|dbname|user|password|service)\s*=)`)

// network reads an IPv4 network, or an address, which stands for the network of itself
// alone.
func network(v any) (netip.Prefix, error) {
	s, _ := v.(string)
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	return p, only(err == nil && p.Addr().Is4() && p == p.Masked(), "an IPv4 address, as 10.77.0.2, or a network, as 10.0.0.0/8")
}

// interfaces reads the name of a network interface, or a list of them.
func interfaces(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var names []string
	for _, e := range list {
		s, _ := e.(string)
		if !interfaceName.MatchString(s) {
			return nil, accepted(`the name of a network interface, as "eth1", or a list of names`)
		}
		if slices.Contains(names, s) {
			return nil, fmt.Errorf("%q is listed twice", s)
		}
		names = append(names, s)
	}
	return names, nil
}

var interfaceName = regexp.MustCompile(`^[^\s/:[:cntrl:]]{1,15}$`) // dev_valid_name in Linux, IFNAMSIZ

// groups reads a list of names.
func groups(v any) (names []string, err error) {
	const a = accepted(`a list of names, as ["admins"]`)
	list, ok := v.([]any)
	for _, e := range list {
		s, err := nonempty(a)(e)
		if err != nil {
			return nil, a
		}
		names = append(names, s)
	}
	return names, only(ok, a)
}

// alertURLs reads a list of URLs that alerts are sent to. Nothing of them is shown: there
// are passwords in them.
func alertURLs(v any) (urls []string, err error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New(`accepted is a list of URLs, as ["ntfy://ntfy.example.org/farm"]`)
	}
	var wrong []string
	for n, e := range list {
		s, isText := e.(string)
		err := alert.Check(s)
		if !isText {
			err = errors.New("accepted is text in quotes")
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("URL %d: %v", n+1, err))
		}
		urls = append(urls, s)
	}
	if wrong != nil {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return urls, nil
}

// isIssuer tells whether s is the URL of an OpenID provider (OpenID Connect Discovery 1.0
// section 2: https, without query or fragment); plain HTTP only from this host.
func isIssuer(s string) bool {
	u, err := url.Parse(s)
	if err != nil || !isHost(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && a.IsLoopback()
}

var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isHost tells whether s is an IP address or a name such as DNS has (RFC 1123
// 2.1; underscores are seen in the field).
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	_, err := strconv.Atoi(labels[len(labels)-1]) // 192.0.2.256: a wrong address, not a name
	return err != nil && len(s) <= 253 && !slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) })
}

// baseURL reads an http or https URL of a host, with or without a port, and nothing else.
func baseURL(v any) (*url.URL, error) {
	const a = accepted("a URL with scheme, host and at most a port, as https://boot.example.org")
	s, _ := v.(string)
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") {
		return nil, a
	}
	n, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	bare := &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}
	return bare, only(err == nil && n > 0 && strings.EqualFold(bare.String(), u.String()), a)
}

var keyword = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// show writes a value as the file does, shortened.
func show(v any) string {
	var s string
	switch v := v.(type) {
	case string:
		s = strconv.Quote(v)
	case unread:
		s = v.text
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = show(e)
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case map[string]any, nil:
		s = "a table"
	case float64:
		if s = strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64)); !strings.ContainsAny(s, ".en") { // 1e+21, inf, nan
			s += ".0"
		}
	default:
		s = fmt.Sprint(v)
	}
	return provisioning.Clip(s, 60)
}

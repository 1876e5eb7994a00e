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

// Each function here makes the set function of a [key]: it checks a value that
// the TOML library decoded and stores it in dst.

func boolean(dst *bool) func(any) error {
	return func(v any) error {
		b, ok := v.(bool)
		if !ok {
			return refuse("true or false", v)
		}
		*dst = b
		return nil
	}
}

// text accepts one printable line.
func text[S ~string](dst *S) func(any) error {
	return func(v any) error {
		s, ok := v.(string)
		if !ok {
			return refuse("text in quotes", v)
		}
		if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
			return refuse("one line of printable text", v)
		}
		*dst = S(s)
		return nil
	}
}

// database accepts the path of a SQLite file, or the URL of a PostgreSQL database.
func database(dst *string) func(any) error {
	return func(v any) error {
		if s, _ := v.(string); strings.Contains(s, "://") && !(Provisioning{Database: s}).Postgres() {
			return refuse("the path of a SQLite file, or a postgres:// URL", v)
		}
		return path(dst)(v)
	}
}

// path accepts a path.
func path(dst *string) func(any) error {
	return func(v any) error {
		if v == "" {
			return refuse("a path", v)
		}
		return text(dst)(v)
	}
}

// optional accepts "", for which the default stands to be emptied, and what
// inner accepts.
func optional(dst *string, inner func(*string) func(any) error) func(any) error {
	return func(v any) error {
		if v == "" {
			*dst = ""
			return nil
		}
		return inner(dst)(v)
	}
}

// number accepts a whole number from low to high.
func number[N ~int | ~uint16 | ~uint32](dst *N, low, high int64, accepted string) func(any) error {
	return func(v any) error {
		n, ok := v.(int64)
		if !ok || n < low || n > high {
			return refuse(accepted, v)
		}
		*dst = N(n)
		return nil
	}
}

func port(dst *uint16) func(any) error {
	return number(dst, 1, 65535, "a port, a whole number from 1 to 65535")
}

// blockSize: RFC 2348 allows 8 to 65464; every client knows 512 (RFC 1350).
func blockSize(dst *int) func(any) error {
	return number(dst, 512, 65464, "a whole number of bytes from 512 to 65464, at most the LAN's MTU less 32 (1428 suits every LAN)")
}

func farmer(dst *provisioning.FarmerID) func(any) error {
	return number(dst, 0, 1<<32-1, "a farmer id, a whole number from 1 to 4294967295, or 0 for none")
}

// oneOf accepts one of some words.
func oneOf[S ~string](dst *S, words ...S) func(any) error {
	return func(v any) error {
		s, _ := v.(string)
		if !slices.Contains(words, S(s)) {
			quoted := make([]string, len(words))
			for i, w := range words {
				quoted[i] = strconv.Quote(string(w))
			}
			last := len(quoted) - 1
			return refuse(strings.Join(quoted[:last], ", ")+" or "+quoted[last], v)
		}
		*dst = S(s)
		return nil
	}
}

// network accepts "", an IPv4 address, which stands for the network of itself
// alone, or an IPv4 network.
func network(dst *netip.Prefix) func(any) error {
	return func(v any) error {
		s, ok := v.(string)
		if ok && s == "" {
			*dst = netip.Prefix{}
			return nil
		}
		p, err := netip.ParsePrefix(s)
		if a, e := netip.ParseAddr(s); e == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || !p.Addr().Is4() || p != p.Masked() {
			return refuse("an IPv4 address, as 10.77.0.2, or a network, as 10.0.0.0/8", v)
		}
		*dst = p
		return nil
	}
}

// checked accepts text that check does.
func checked(check func(string) error) func(*string) func(any) error {
	return func(dst *string) func(any) error {
		return func(v any) error {
			var s string
			if err := text(&s)(v); err != nil {
				return err
			}
			if err := check(s); err != nil {
				return err
			}
			*dst = s
			return nil
		}
	}
}

// duration accepts a time span as Go writes it, of least or more.
func duration(dst *time.Duration, least time.Duration) func(any) error {
	return func(v any) error {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil || d < least {
			return refuse(fmt.Sprintf(`a time span of %s or more, as "6h" or "30m"`, least), v)
		}
		*dst = d
		return nil
	}
}

// arguments accepts kernel arguments that check accepts.
func arguments(dst *string, check func(string) error) func(any) error {
	return func(v any) error {
		var s string
		if err := text(&s)(v); err != nil {
			return err
		}
		s = strings.Trim(s, " ") // first: the space behind a \ matters
		if err := check(s); err != nil {
			return err
		}
		*dst = s
		return nil
	}
}

// interfaces accepts one name of a network interface or a list of them.
func interfaces(dst *[]string) func(any) error {
	const accepted = `the name of a network interface, as "eth1", or a list of names`
	name := regexp.MustCompile(`^[^\s/:[:cntrl:]]{1,15}$`) // dev_valid_name in Linux, IFNAMSIZ
	return func(v any) error {
		list, ok := v.([]any)
		if !ok && v != "" {
			list = []any{v}
		}
		names := make([]string, 0, len(list))
		for _, e := range list {
			s, ok := e.(string)
			if !ok || !name.MatchString(s) {
				return refuse(accepted, v)
			}
			if slices.Contains(names, s) {
				return fmt.Errorf("%q is listed twice", s)
			}
			names = append(names, s)
		}
		*dst = nil
		if len(names) > 0 {
			*dst = names
		}
		return nil
	}
}

// issuer accepts the URL of an OpenID provider (OpenID Connect Discovery 1.0 section 2:
// https, without query or fragment); plain HTTP only from this host.
func issuer(dst *string) func(any) error {
	return func(v any) error {
		s, _ := v.(string)
		u, err := url.Parse(s)
		if err == nil && u.Scheme == "http" {
			if a, e := netip.ParseAddr(u.Hostname()); e != nil || !a.IsLoopback() {
				err = errors.New("plain HTTP")
			}
		} else if err == nil && u.Scheme != "https" {
			err = errors.New("another scheme")
		}
		if err != nil || !isHost(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return refuse("the https:// URL of an OpenID provider, as it names itself, without query or fragment", v)
		}
		*dst = s
		return nil
	}
}

// words accepts a list of texts, none of them empty.
func words(dst *[]string) func(any) error {
	return func(v any) error {
		list, ok := v.([]any)
		if !ok {
			return refuse(`a list of names, as ["admins"]`, v)
		}
		var all []string
		for _, e := range list {
			var s string
			if err := text(&s)(e); err != nil || s == "" {
				return refuse(`a list of names, as ["admins"]`, v)
			}
			all = append(all, s)
		}
		*dst = all
		return nil
	}
}

// alertURLs accepts a list of URLs that alerts are sent to. Nothing of them is shown:
// there are passwords in them.
func alertURLs(dst *[]string) func(any) error {
	return func(v any) error {
		list, ok := v.([]any)
		if !ok {
			return errors.New(`accepted is a list of URLs, as ["ntfy://ntfy.example.org/farm"]`)
		}
		var urls []string
		for n, e := range list {
			s, _ := e.(string)
			if err := alert.Check(s); err != nil {
				return fmt.Errorf("URL %d: %w", n+1, err)
			}
			urls = append(urls, s)
		}
		*dst = urls
		return nil
	}
}

// host accepts a host name or an IP address.
func host(dst *string) func(any) error {
	return func(v any) error {
		s, _ := v.(string)
		if !isHost(s) {
			return refuse("a host name or an IP address", v)
		}
		*dst = s
		return nil
	}
}

var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isHost tells whether s is an IP address or a name such as DNS has (RFC 1123
// 2.1; underscores are seen in the field).
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil {
		return false // 192.0.2.256: a wrong address, not a name
	}
	return !slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) })
}

// baseURL accepts "" and an absolute http or https URL of a host, with or
// without a port, and nothing behind it.
func baseURL(dst **url.URL) func(any) error {
	const accepted = "a URL with scheme, host and at most a port, as https://boot.example.org"
	return func(v any) error {
		if v == "" {
			*dst = nil
			return nil
		}
		s, _ := v.(string)
		u, err := url.Parse(strings.TrimSuffix(s, "/"))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(u.Hostname()) {
			return refuse(accepted, v)
		}
		if n, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || n == 0 || strings.HasSuffix(u.Host, ":") {
			return refuse(accepted, v)
		}
		// Nothing but scheme and host must remain: no path, query or user.
		bare := &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}
		if !strings.EqualFold(bare.String(), u.String()) {
			return refuse(accepted, v)
		}
		*dst = bare
		return nil
	}
}

var keyword = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// runMode accepts the pretty name of a run mode.
func runMode(modes provisioning.RunModes, mode string) func(any) error {
	return func(v any) error {
		if !keyword.MatchString(mode) {
			return fmt.Errorf("bad run mode: accepted is a keyword of 1 to 32 lower-case letters, digits and hyphens")
		}
		name := ""
		if err := text(&name)(v); err != nil {
			return err
		}
		if strings.TrimSpace(name) == "" {
			return refuse("a name for people", v)
		}
		modes[provisioning.RunMode(mode)] = name
		return nil
	}
}

// refuse says what is accepted and what was found.
func refuse(accepted string, found any) error {
	return fmt.Errorf("accepted is %s; found %s", accepted, show(found))
}

// show writes a value as the file does, shortened.
func show(v any) string {
	var s string
	switch v := v.(type) {
	case string:
		s = strconv.Quote(v)
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
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

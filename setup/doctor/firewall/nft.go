package firewall

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// nft's own JSON (libnftables-json(5)): a list of objects with one member each.
type nftObject struct {
	Chain *struct {
		Family, Table, Name, Hook, Policy string
		Dev                               json.RawMessage
	}
	Set *struct {
		Family, Table, Name string
		Elem                []any
	}
	Map *struct {
		Family, Table, Name string
		Elem                []any
	}
	Rule *struct {
		Family, Table, Chain string
		Expr                 []map[string]any
	}
}

// ParseNFT reads what "nft -j list ruleset" prints. foreign tells whether rules are in
// it that iptables made and nft does not know to write; they are left out.
func ParseNFT(text []byte) (r Rules, foreign bool, err error) {
	var list struct{ Nftables []nftObject }
	if err := json.Unmarshal(text, &list); err != nil {
		return Rules{}, false, fmt.Errorf("read nft's rules: %w", err)
	}
	type at struct{ family, table, name string }
	chains := make(map[at]*chain)
	var order []at
	sets := make(map[at][]any)
	opaque := make(map[at]bool) // tables
	for _, o := range list.Nftables {
		switch {
		case o.Chain != nil:
			c := o.Chain
			if c.Family != "ip" && c.Family != "inet" && c.Family != "netdev" {
				continue
			}
			where := at{c.Family, c.Table, c.Name}
			chains[where] = &chain{hook: c.Hook, device: deviceOf(c.Dev), drops: c.Policy == "drop"}
			order = append(order, where)
		case o.Set != nil:
			sets[at{o.Set.Family, o.Set.Table, o.Set.Name}] = o.Set.Elem
		case o.Map != nil:
			sets[at{o.Map.Family, o.Map.Table, o.Map.Name}] = o.Map.Elem
		}
	}
	for _, o := range list.Nftables {
		if o.Rule == nil {
			continue
		}
		c := chains[at{o.Rule.Family, o.Rule.Table, o.Rule.Chain}]
		if c == nil {
			continue
		}
		t := nftTable{
			prefix: o.Rule.Family + " " + o.Rule.Table + " ",
			set:    func(name string) []any { return sets[at{o.Rule.Family, o.Rule.Table, name}] },
		}
		var statements rule
		for _, expr := range o.Rule.Expr {
			for kind, value := range expr {
				if kind == "xt" {
					opaque[at{o.Rule.Family, o.Rule.Table, ""}] = true
				}
				statements = append(statements, t.statement(kind, value))
			}
		}
		c.rules = append(c.rules, statements)
	}
	r.called = make(map[string]chain)
	for _, where := range order {
		if opaque[at{where.family, where.table, ""}] {
			foreign = true
			continue
		}
		if c := *chains[where]; c.hook != "" {
			r.base = append(r.base, c)
		} else {
			r.called[where.family+" "+where.table+" "+where.name] = c
		}
	}
	return r, foreign, nil
}

// deviceOf reads the device of an ingress chain; "" stands for several of them too.
func deviceOf(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) != nil {
		return ""
	}
	return one
}

// nftTable is where a rule stands.
type nftTable struct {
	prefix string // of its chains' names
	set    func(name string) []any
}

func does(kind actionKind) statement {
	return func(Packet) (truth, action) { return yes, action{kind: kind} }
}

func depends(Packet) (truth, action) { return maybe, action{} }

// statement translates one expression of a rule.
func (t nftTable) statement(kind string, value any) statement {
	fields, _ := value.(map[string]any)
	switch kind {
	case "accept", "drop", "reject", "return", "jump", "goto":
		act := t.actionOf(map[string]any{kind: value})
		return func(Packet) (truth, action) { return yes, act }
	case "match":
		return func(p Packet) (truth, action) { return t.match(fields, p), action{} }
	case "vmap":
		return func(p Packet) (truth, action) { return t.verdictMap(fields, p) }
	case "counter", "log", "mangle", "notrack", "meter", "set", "comment", "masquerade", "snat", "dnat", "redirect":
		return does(goOn)
	}
	return depends // a limit, a quota, what later versions have
}

// actionOf reads a verdict: {"accept": null}, {"jump": {"target": "lan"}}.
func (t nftTable) actionOf(verdict any) action {
	v, _ := verdict.(map[string]any)
	for kind, value := range v {
		target, _ := value.(map[string]any)
		name, _ := target["target"].(string)
		switch kind {
		case "accept":
			return action{kind: accept}
		case "drop", "reject":
			return action{kind: drop}
		case "return":
			return action{kind: leave}
		case "jump":
			return action{kind: call, target: t.prefix + name}
		case "goto":
			return action{kind: leaveFor, target: t.prefix + name}
		}
	}
	return action{}
}

// match compares a field of the packet.
func (t nftTable) match(m map[string]any, p Packet) truth {
	op, _ := m["op"].(string)
	got := t.holds(m["left"], m["right"], p)
	switch op {
	case "==", "in", "":
		return got
	case "!=":
		return not(got)
	}
	return maybe // <, >: of a port
}

// verdictMap looks the packet up in a map of verdicts.
func (t nftTable) verdictMap(m map[string]any, p Packet) (truth, action) {
	data := m["data"]
	if d, ok := data.(map[string]any); ok {
		data = d["set"]
	}
	entries, ok := data.([]any)
	if name, named := data.(string); named {
		entries, ok = t.set(strings.TrimPrefix(name, "@")), true
	}
	if !ok {
		return maybe, action{}
	}
	for _, e := range entries {
		pair, ok := e.([]any)
		if !ok || len(pair) != 2 {
			return maybe, action{}
		}
		if is := t.holds(m["key"], pair[0], p); is != no {
			return is, t.actionOf(pair[1])
		}
	}
	return no, action{}
}

// holds tells whether what left names of the packet is what right says.
func (t nftTable) holds(left, right any, p Packet) truth {
	switch r := right.(type) {
	case []any:
		return t.any(left, r, p)
	case string:
		if name, ok := strings.CutPrefix(r, "@"); ok {
			return t.any(left, t.set(name), p)
		}
	case map[string]any:
		if set, ok := r["set"].([]any); ok {
			return t.any(left, set, p)
		}
		if elem, ok := r["elem"].(map[string]any); ok {
			return t.holds(left, elem["val"], p)
		}
	}
	l, ok := left.(map[string]any)
	if !ok {
		return maybe
	}
	if fields, ok := l["concat"].([]any); ok {
		return t.all(fields, right, p)
	}
	if meta, ok := l["meta"].(map[string]any); ok {
		return metaIs(meta["key"], right, p)
	}
	if ct, ok := l["ct"].(map[string]any); ok && ct["key"] == "state" {
		return stateIs(fmt.Sprint(right), p)
	}
	if fib, ok := l["fib"].(map[string]any); ok && fib["result"] == "type" {
		return truthOf((right == "broadcast") == p.Broadcast)
	}
	if payload, ok := l["payload"].(map[string]any); ok {
		return payloadIs(fmt.Sprint(payload["protocol"]), fmt.Sprint(payload["field"]), right, p)
	}
	return maybe
}

// any tells whether one of several values is right.
func (t nftTable) any(left any, values []any, p Packet) truth {
	best := no
	for _, v := range values {
		best = max(best, t.holds(left, v, p))
	}
	return best
}

// all compares the parts of a concatenation.
func (t nftTable) all(fields []any, right any, p Packet) truth {
	r, _ := right.(map[string]any)
	values, _ := r["concat"].([]any)
	if len(values) != len(fields) {
		return maybe
	}
	worst := yes
	for i := range fields {
		worst = min(worst, t.holds(fields[i], values[i], p))
	}
	return worst
}

func metaIs(key, right any, p Packet) truth {
	text := fmt.Sprint(right)
	switch key {
	case "iif", "iifname", "oif", "oifname":
		return interfaceIs(text, "*", p)
	case "l4proto":
		return truthOf(text == p.Protocol || text == protocolNumber[p.Protocol])
	case "nfproto":
		return truthOf(text == "ipv4")
	case "protocol":
		return truthOf(text == "ip")
	case "pkttype":
		return truthOf((text == "broadcast") == p.Broadcast)
	}
	return maybe // a mark, a user
}

var protocolNumber = map[string]string{"udp": "17", "tcp": "6"}

// interfaceIs compares a name that may end in a wildcard.
func interfaceIs(name, wildcard string, p Packet) truth {
	if stem, ok := strings.CutSuffix(name, wildcard); ok {
		return truthOf(strings.HasPrefix(p.Interface, stem))
	}
	return truthOf(name == p.Interface)
}

// stateIs compares the state of connection tracking.
func stateIs(state string, p Packet) truth {
	switch strings.ToLower(state) {
	case "new":
		return truthOf(!p.Established)
	case "established":
		return truthOf(p.Established)
	}
	return no // related, invalid, untracked
}

func payloadIs(protocol, field string, right any, p Packet) truth {
	switch {
	case protocol == "ip" && field == "protocol":
		return truthOf(right == p.Protocol)
	case protocol == "ip" && field == "saddr":
		return within(p.Source, networkOf(right))
	case protocol == "ip" && field == "daddr":
		return within(p.Destination, networkOf(right))
	case protocol == "ip":
		return maybe
	case protocol != p.Protocol && protocol != "th":
		return no
	case field == "dport":
		return portIs(right, p.Port)
	case field == "sport" && p.SourcePort != 0:
		return portIs(right, p.SourcePort)
	}
	return maybe
}

// networkOf reads an address or {"prefix": {"addr": "10.0.0.0", "len": 8}}; the zero
// prefix is what it cannot read.
func networkOf(v any) netip.Prefix {
	if m, ok := v.(map[string]any); ok {
		prefix, _ := m["prefix"].(map[string]any)
		v = fmt.Sprintf("%v/%v", prefix["addr"], prefix["len"])
	}
	return parseNetwork(fmt.Sprint(v))
}

// parseNetwork reads an address or a network; the zero prefix is neither.
func parseNetwork(s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.Prefix{}
}

// portIs compares a number or {"range": [60, 69]}.
func portIs(v any, port uint16) truth {
	if m, ok := v.(map[string]any); ok {
		ends, _ := m["range"].([]any)
		if len(ends) != 2 {
			return maybe
		}
		lo, ok1 := number(ends[0])
		hi, ok2 := number(ends[1])
		if !ok1 || !ok2 {
			return maybe
		}
		return truthOf(lo <= port && port <= hi)
	}
	n, ok := number(v)
	if !ok {
		return maybe
	}
	return truthOf(n == port)
}

// serviceNames are those that rules may name our ports by (services(5)).
var serviceNames = map[string]uint16{"bootps": 67, "bootpc": 68, "tftp": 69, "http": 80, "https": 443}

// number reads a port.
func number(v any) (uint16, bool) {
	text := fmt.Sprint(v)
	if n, ok := serviceNames[text]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil
}

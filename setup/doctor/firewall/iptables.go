package firewall

import "strings"

// ParseIPTables reads what a program such as iptables-save prints. Its name keeps its
// chains apart from those of others.
func ParseIPTables(program, text string) Rules {
	r := Rules{called: make(map[string]chain)}
	var table string
	chains := make(map[string]*chain) // of this table
	var order []string
	finish := func() {
		for _, name := range order {
			if c := *chains[name]; c.hook != "" {
				r.base = append(r.base, c)
			} else {
				r.called[table+" "+name] = c
			}
		}
		chains, order = make(map[string]*chain), nil
	}
	for line := range strings.Lines(text) {
		words := splitWords(strings.TrimSpace(line))
		switch {
		case len(words) == 0:
		case strings.HasPrefix(words[0], "*"):
			finish()
			table = program + " " + words[0][1:]
		case strings.HasPrefix(words[0], ":") && len(words) > 1:
			c := &chain{drops: words[1] == "DROP"}
			if words[1] != "-" && !strings.HasSuffix(table, " nat") { // nat's chains translate, and never drop
				c.hook = strings.ToLower(words[0][1:])
			}
			chains[words[0][1:]] = c
			order = append(order, words[0][1:])
		case words[0] == "-A" && len(words) > 2 && chains[words[1]] != nil:
			c := chains[words[1]]
			known := func(name string) bool { return chains[name] != nil }
			c.rules = append(c.rules, parseRule(words[2:], table, known))
		}
	}
	finish()
	return r
}

// splitWords splits a line at spaces, but for those in double quotes.
func splitWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// parseRule reads the options of a rule.
func parseRule(words []string, table string, known func(chain string) bool) rule {
	var r rule
	last := does(goOn)
	negated := false
	for i := 0; i < len(words); i++ {
		option := words[i]
		if option == "!" {
			negated = true
			continue
		}
		if !strings.HasPrefix(option, "-") {
			continue // an argument of an option that is not understood
		}
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		if option == "-j" || option == "-g" {
			last = target(option, value, table, known)
			break // what follows is the target's own
		}
		if test := condition(option, value); test != nil {
			negate := negated
			r = append(r, func(p Packet) (truth, action) {
				t := test(p)
				if negate {
					t = not(t)
				}
				return t, action{}
			})
		}
		negated = false
	}
	return append(r, last)
}

// target is what -j and -g do.
func target(option, name, table string, known func(string) bool) statement {
	switch name {
	case "ACCEPT":
		return does(accept)
	case "DROP", "REJECT":
		return does(drop)
	case "RETURN":
		return does(leave)
	}
	if !known(name) {
		return does(goOn) // LOG, MARK, NFLOG …
	}
	kind := call
	if option == "-g" {
		kind = leaveFor
	}
	return func(Packet) (truth, action) { return yes, action{kind: kind, target: table + " " + name} }
}

// condition is what an option asks of a packet; nil if it asks nothing.
func condition(option, value string) func(Packet) truth {
	switch option {
	case "-m", "--comment", "--limit-burst", "--reject-with":
		return nil
	case "-p":
		return func(p Packet) truth { return truthOf(value == p.Protocol || value == "all") }
	case "-i", "-o":
		return func(p Packet) truth { return interfaceIs(value, "+", p) }
	case "-s":
		return func(p Packet) truth { return within(p.Source, parseNetwork(value)) }
	case "-d":
		return func(p Packet) truth { return within(p.Destination, parseNetwork(value)) }
	case "--dport", "--dports":
		return func(p Packet) truth { return portIn(value, p.Port) }
	case "--sport", "--sports":
		return func(p Packet) truth {
			if p.SourcePort == 0 {
				return maybe
			}
			return portIn(value, p.SourcePort)
		}
	case "--ctstate", "--state":
		return func(p Packet) truth {
			best := no
			for s := range strings.SplitSeq(value, ",") {
				best = max(best, stateIs(s, p))
			}
			return best
		}
	case "--pkt-type":
		return func(p Packet) truth { return truthOf((value == "broadcast") == p.Broadcast) }
	case "--dst-type":
		return func(p Packet) truth { return truthOf((value == "BROADCAST") == p.Broadcast) }
	}
	return func(Packet) truth { return maybe } // a limit, a mark, a set of addresses
}

// portIn compares with a list of ports and ranges: "67:69,4011".
func portIn(list string, port uint16) truth {
	best := no
	for item := range strings.SplitSeq(list, ",") {
		lo, hi, ranged := strings.Cut(item, ":")
		if !ranged {
			hi = lo
		}
		from, ok1 := number(lo)
		to, ok2 := number(hi)
		if !ok1 || !ok2 {
			best = max(best, maybe)
			continue
		}
		best = max(best, truthOf(from <= port && port <= to))
	}
	return best
}

#!/bin/sh
# Runs every fuzz target of the module for a while each.
#
#   setup/fuzz.sh LIMIT
#
# LIMIT is a duration (10s), or a number of inputs (1000x), which takes the same work
# on every machine.
set -eu
limit=${1:?name a limit, as 10s or 1000x}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Go may end a target with this alone when its time is up while a worker is still
# busy, though nothing was found (go.dev/issue/75804).
timed_out() { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; }

grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -rn 1 dirname | sort -u | while read -r package; do
	sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$package"/*_test.go | while read -r target; do
		printf '%s %s, %s\n' "$package" "$target" "$limit"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$limit" -fuzzminimizetime 5s "$package" >"$log" 2>&1 </dev/null ||
			timed_out || { cat "$log"; exit 1; }
	done
done

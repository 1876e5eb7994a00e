#!/bin/sh
# Runs every fuzz target of the module for a while each.
#
#   setup/fuzz.sh DURATION
set -eu
duration=${1:?name a duration, as 10s}
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -rn 1 dirname | sort -u | while read -r package; do
	sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$package"/*_test.go | while read -r target; do
		printf '%s %s, %s\n' "$package" "$target" "$duration"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 5s "$package" >"${log:=$(mktemp)}" 2>&1 </dev/null ||
			{ cat "$log"; rm -f "$log"; exit 1; }
		rm -f "$log"
	done
done

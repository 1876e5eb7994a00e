#!/bin/sh
# Says how many tests ran, from the logs of "go test -json", and fails if one failed
# or was left out.
#
#   setup/count.sh LOG...
set -eu
awk '
	/"Test":"/ && /"Action":"pass"/ { passed++ }
	/"Test":"/ && /"Action":"fail"/ { failed++ }
	/"Test":"/ && /"Action":"skip"/ { skipped++; match($0, /"Test":"[^"]*"/); left = left " " substr($0, RSTART + 8, RLENGTH - 9) }
	END {
		printf "%d tests: %d passed, %d failed, %d skipped\n", passed + failed + skipped, passed, failed, skipped
		if (left != "") print "skipped:" left
		exit failed + skipped > 0 || passed == 0
	}' "$@"

#!/bin/sh
# Prints the version of this tree, in a form that Debian, RPM and file names take:
#
#   1.2.0                        at the tag v1.2.0
#   1.2.0~rc1                    at the tag v1.2.0-rc1; sorts before 1.2.0
#   1.2.0+20261128135401.a1b2c3d later: the time (UTC) and name of the commit
#
# Where there is no tag, CHANGELOG.md names the version before. ".dirty" at the end:
# with changes that are in no commit.
set -eu
cd "$(dirname "$0")/../.."

released() { sed -nE 's/^## ([0-9]+\.[0-9]+\.[0-9]+).*/\1/p' CHANGELOG.md | grep -m 1 . || echo 0.0.0; }
plain() { printf '%s' "${1#v}" | sed 's/-/~/; s/-/./g'; } # TAG

if [ ! -e .git ] || ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
	released # an unpacked archive
	exit
fi
dirty=
[ -z "$(git status --porcelain --untracked-files=no)" ] || dirty=.dirty
if tag=$(git describe --tags --match 'v[0-9]*' --exact-match 2>/dev/null) && [ -z "$dirty" ]; then
	plain "$tag"
	exit
fi
base=$(git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null) || base=$(released)
TZ=UTC git log -1 --format="$(plain "$base")+%cd.%h$dirty" --abbrev=7 --date=format-local:%Y%m%d%H%M%S

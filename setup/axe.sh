#!/bin/sh
# Fetches axe-core, which judges the accessibility of the web pages in tests, with
# npm into a cache folder, once. Prints where its script is. Nothing of it is kept in
# the project.
#
#   setup/axe.sh
set -eu

version=4.14.1
folder=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/farmboot/axe-core-$version
script=$folder/node_modules/axe-core/axe.min.js

if [ ! -s "$script" ]; then
	command -v npm >/dev/null || { echo 'axe.sh: no npm; as root: apt-get install --no-install-recommends npm' >&2; exit 1; }
	mkdir -p "$folder"
	npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --silent "axe-core@$version" >&2
fi
[ -s "$script" ] || { echo "axe.sh: npm left no $script" >&2; exit 1; }
echo "$script"

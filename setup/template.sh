#!/bin/sh
# Gathers the iPXE binaries that farmboot builds its boot files from, verifies
# them and puts them into one folder, and with them what Secure Boot needs: shim,
# which Microsoft has signed, and MokManager. Nothing else on this host changes:
# packages are unpacked in a temporary folder, not installed.
#
#   setup/template.sh [--check | --update] [--from FOLDER] [DIR]
#
# DIR defaults to /opt/ipxe-template. A DIR that is already good is left alone.
#   --check    only verify DIR: exit 0 if it is good, 1 if not
#   --update   get the files again even if DIR is good
#   --from     take the files from FOLDER, such as your own build of iPXE
#
# Without --from the files come from the package ipxe: from /usr/lib/ipxe if that
# is installed and recent, else from the Debian mirror, suite trixie or newer.
# Debian 12's (2019) and Ubuntu 24.04's (2022) packages are too old. A host that is no Debian
# has to be told of a Debian mirror: DEBIAN_ARCHIVE=URL, the folder that holds dists and pool.
#
# For Secure Boot, which farmboot does without where they are missing:
#   shimx64.efi, mmx64.efi    from FOLDER, else /usr/lib/shim, else the packages
#                             shim-signed and shim-helpers-amd64-signed (not with --from)
#   ipxe-shimx64.efi          from FOLDER alone: the shim of iPXE's own signed pair,
#                             of which FOLDER's ipxe.efi is the other half
#   systemd-bootx64.efi       from FOLDER, else /usr/lib/systemd/boot/efi, else the package
#                             systemd-boot-efi (not with --from): writes the key into
#                             firmware that is in Setup Mode
#
# DIR/.current links to one complete set of files, and each file in DIR is a link
# through it; that one link is what changes when a set replaces another. So a
# killed run leaves the old set or the new one, never a mixture.
set -eu
umask 022

required='undionly.kpxe ipxe.lkrn ipxe.efi snponly.efi ipxe.iso'
optional='ipxe-arm64.efi ipxe-riscv64.efi' # without them only those nodes do not boot
systemd=systemd-bootx64.efi
secure="shimx64.efi mmx64.efi ipxe-shimx64.efi $systemd" # without them there is no Secure Boot
sums=SHA256SUMS                            # of all these; farmboot refuses a file that no longer matches
installed=/usr/lib/ipxe
installed_shim=/usr/lib/shim
installed_systemd=/usr/lib/systemd/boot/efi
# SHA-256 of the root certificate that iPXE trusts; ours takes its place in images.
root=9faf717b7f8ca2f93c256c79f8ac5591895d66d1ff3bee6397a70d29c65eed1a

. "$(dirname "$0")/debian.sh"

# --- verification: each function prints what is wrong with a file, or nothing ---

# Each is called in a subshell of its own, and takes as few processes as it can.
hex() { # FILE OFFSET COUNT
	# shellcheck disable=SC2046 # words
	set -- $(od -An -v -tx1 -j "$2" -N "$3" "$1")
	IFS=
	printf %s "$*"
}
number() { # FILE OFFSET
	# shellcheck disable=SC2046 # a word
	printf %s $(od -An -tu4 -j "$2" -N 4 "$1")
}
count() { LC_ALL=C grep -aoF "$2" "$1" | wc -l; }               # FILE TEXT
bytes() { LC_ALL=C grep -aoP "$(say "$2" | sed 's/../\\x&/g')" "$1" | wc -l; } # FILE HEX

# The version that iPXE itself prints. Compressed files show none.
version() { LC_ALL=C grep -aoE '[0-9]+\.[0-9]+\.[0-9]+\+[A-Za-z0-9.+~_-]*' "$1" | head -n 1 || true; }

wrong_version() {
	v=$(version "$1")
	case $v in
	'') say 'shows no version of iPXE' ;;
	0.* | 1.[0-9].* | 1.1[0-9].* | 1.20.*) say "is iPXE $v: at least 1.21.1 of 2025 is needed" ;;
	esac
}

wrong_efi() { # FILE MACHINE
	[ "$(hex "$1" 0 2)" = 4d5a ] || { say 'is no EFI program (no MZ at its start)'; return; }
	pe=$(number "$1" 60)
	[ "$pe" -lt 65536 ] && [ "$(hex "$1" "$pe" 4)" = 50450000 ] || { say 'is no EFI program (no PE header)'; return; }
	[ "$(hex "$1" $((pe + 4)) 2)" = "$2" ] || { say 'is for another processor'; return; }
	! signed_efi "$1" "$pe" || { wrong_version "$1"; return; } # stays as it is
	[ "$(count "$1" '<CMDLINE>')" = 1 ] || { say 'is too old a build of iPXE: it cannot be given a script (no <CMDLINE> in it)'; return; }
	[ "$(count "$1" autoexec.ipxe)" -ge 2 ] || { say 'is no build of iPXE that looks for autoexec.ipxe'; return; }
	[ "$(bytes "$1" $root)" = 1 ] || { say "does not hold the fingerprint of iPXE's root certificate once"; return; }
	wrong_version "$1"
}

# Whether an EFI program carries a signature: a certificate table, which is entry 4
# of its data directories.
signed_efi() { # FILE PE-OFFSET
	[ "$(number "$1" $(($2 + 172)))" -gt 0 ]
}

# What a shim or MokManager must be. Whose signature it has firmware judges.
wrong_signed() { # FILE
	[ "$(hex "$1" 0 2)" = 4d5a ] || { say 'is no EFI program (no MZ at its start)'; return; }
	pe=$(number "$1" 60)
	[ "$pe" -lt 65536 ] && [ "$(hex "$1" "$pe" 6)" = 504500006486 ] || { say 'is no EFI program for x86-64'; return; }
	signed_efi "$1" "$pe" || { say 'is not signed'; return; }
	[ "$(count "$1" sbat,1,)" -ge 1 ] || say 'is too old: it has no SBAT section'
}

# What systemd-boot must be. Firmware in Setup Mode checks no signature.
wrong_systemd() { # FILE
	[ "$(hex "$1" 0 2)" = 4d5a ] || { say 'is no EFI program (no MZ at its start)'; return; }
	pe=$(number "$1" 60)
	[ "$pe" -lt 65536 ] && [ "$(hex "$1" "$pe" 6)" = 504500006486 ] || { say 'is no EFI program for x86-64'; return; }
	[ "$(count "$1" secure-boot-enroll)" -ge 1 ] || say 'is too old: it cannot write keys into firmware (systemd-boot 252 or newer does)'
}

wrong_lkrn() {
	[ "$(hex "$1" 510 2)" = 55aa ] && [ "$(hex "$1" 514 4)" = 48647253 ] || { say 'is no Linux boot image (no HdrS header)'; return; }
	wrong_version "$1"
}

wrong_nbp() { [ "$(hex "$1" 0 5)" = ea0500c007 ] || say 'is no network boot program of iPXE'; }

wrong_iso() {
	[ "$(hex "$1" 32769 5)" = 4344303031 ] || { say 'is no ISO 9660 image'; return; }
	[ "$(hex "$1" 510 2)" = 55aa ] || { say 'has no boot sector'; return; }
	for part in ISOLINUX.BIN LDLINUX.C32 IPXE.KRN; do
		[ "$(count "$1" $part)" -ge 1 ] || { say "has no $part in it"; return; }
	done
	wrong_version "$1"
}

wrong() { # FILE NAME
	[ -f "$1" ] || { say 'is missing'; return; }
	size=$(wc -c <"$1")
	case $2 in
	*.kpxe) least=40000 most=480000 ;;
	systemd-*) least=60000 most=1000000 ;;
	*.lkrn) least=150000 most=4000000 ;;
	*.efi) least=150000 most=8000000 ;; # shim and MokManager too
	*.iso) least=1000000 most=64000000 ;;
	esac
	[ "$size" -ge $least ] && [ "$size" -le $most ] || { say "is $size bytes long: $least to $most are expected"; return; }
	case $2 in
	*.kpxe) wrong_nbp "$1" ;;
	*.lkrn) wrong_lkrn "$1" ;;
	*shimx64.efi | mmx64.efi) wrong_signed "$1" ;;
	systemd-*) wrong_systemd "$1" ;;
	ipxe-arm64.efi) wrong_efi "$1" 64aa ;;
	ipxe-riscv64.efi) wrong_efi "$1" 6450 ;;
	*.efi) wrong_efi "$1" 6486 ;;
	*.iso) wrong_iso "$1" ;;
	esac
}

# Prints what is wrong with a folder of files, a line each; nothing if it is good.
verify() { # FOLDER
	for name in $required; do
		why=$(wrong "$1/$name" "$name")
		[ -z "$why" ] || say "$1/$name $why"
	done
	for name in $optional $secure; do
		[ -e "$1/$name" ] || continue
		why=$(wrong "$1/$name" "$name")
		[ -z "$why" ] || say "$1/$name $why"
	done
	[ ! -e "$1/$sums" ] || (cd "$1" && sha256sum --check --quiet $sums 2>/dev/null) |
		while read -r line; do say "$1/$line (by $sums)"; done
}

# --- getting the package ---

# Prepares the archive of the suite that packages come from.
archive() {
	[ -z "${suite:-}" ] || return 0
	# Debian 13 and newer have a recent iPXE of their own; everything else takes that
	# of Debian 13.
	suite=trixie
	case $(os ID):$(os VERSION_ID) in
	debian:9 | debian:10 | debian:11 | debian:12) ;;
	debian:*) suite=$(os VERSION_CODENAME) ;;
	esac
	debian_archive "$suite" amd64
}

fetch() {
	archive
	say "Getting the package ipxe of Debian $suite from $mirror (unpacked, not installed)."
	unpack ipxe
	from=$work/x/usr/lib/ipxe
}

# --- what Secure Boot needs ---

# Whether a folder has a shim and all that goes with it.
has_shim() { # FOLDER
	[ -e "$1/shimx64.efi" ] && [ -e "$1/mmx64.efi" ] || [ -e "$1/ipxe-shimx64.efi" ]
}

# Whether a folder has all that is gathered for it.
has_secure() { has_shim "$1" && [ -e "$1/$systemd" ]; } # FOLDER

# Leaves what a folder has not of that in $work/shim, if it can be had without doing harm
# to the rest: what goes wrong here is said, and no more.
gather() { # FOLDER
	mkdir -p "$work/shim"
	packages=
	if has_shim "$1"; then
		:
	elif [ -e $installed_shim/shimx64.efi.signed ] && [ -e $installed_shim/mmx64.efi.signed ]; then
		take_shim $installed_shim
	else
		packages='shim-signed shim-helpers-amd64-signed'
	fi
	if [ -e "$1/$systemd" ]; then
		:
	elif [ -e $installed_systemd/$systemd ]; then
		take_systemd $installed_systemd
	else
		packages="$packages systemd-boot-efi"
	fi
	[ -n "$packages" ] && $fetch_shim || return 0
	(
		archive
		say "Getting for Secure Boot, of Debian $suite (unpacked, not installed):" $packages
		for p in $packages; do unpack "$p"; done
	) || true
	[ ! -e "$work/x/usr/lib/shim" ] || take_shim "$work/x/usr/lib/shim"
	[ ! -e "$work/x$installed_systemd" ] || take_systemd "$work/x$installed_systemd"
}

take_shim() { # FOLDER
	for name in shimx64.efi mmx64.efi; do
		cp -L "$1/$name.signed" "$work/shim/$name" 2>/dev/null || true
		why=$(wrong "$work/shim/$name" $name)
		[ -z "$why" ] || { rm -f "$work/shim/shimx64.efi" "$work/shim/mmx64.efi"; say "$1/$name.signed $why" >&2; return 0; }
	done
}

take_systemd() { # FOLDER
	why=$(wrong "$1/$systemd" $systemd)
	[ -z "$why" ] || { say "$1/$systemd $why" >&2; return 0; }
	cp -L "$1/$systemd" "$work/shim/$systemd"
}

# --- putting a set in place ---

# Makes name in $dir a link through .current, in one step.
link() { # NAME
	[ "$(readlink "$dir/$1" 2>/dev/null || true)" = ".current/$1" ] && return
	ln -s ".current/$1" "$new/.link"
	mv -fT "$new/.link" "$dir/$1"
}

point() { # SET
	ln -s "$1" "$new/.link"
	mv -fT "$new/.link" "$dir/.current"
}

install_set() {
	new=$(mktemp -d "$dir/.set-XXXXXX")
	for name in $required $optional $secure; do
		if [ -e "$from/$name" ]; then
			cp -L "$from/$name" "$new/$name"
		elif [ -e "$work/shim/$name" ]; then
			cp "$work/shim/$name" "$new/$name"
		fi
	done
	(cd "$new" && sha256sum -- * >.sums && mv .sums $sums)
	chmod 755 "$new"
	chmod 644 "$new"/*
	bad=$(verify "$new")
	[ -z "$bad" ] || { rm -rf "$new"; die "what was copied is not good:
$bad"; }
	sync "$new"/* "$new" 2>/dev/null || sync
	# Files that are not links yet become the old set first, so that here too one
	# link changes all.
	if [ ! -e "$dir/.current" ]; then
		old=$(mktemp -d "$dir/.set-XXXXXX")
		chmod 755 "$old"
		for name in $required $optional $secure $sums; do
			[ ! -e "$dir/$name" ] || cp -pL "$dir/$name" "$old/$name"
		done
		point "${old##*/}"
	fi
	# Links to files that only the new set has dangle until it is the current one.
	for name in $required $optional $secure $sums; do
		if [ -e "$dir/$name" ] || [ -e "$new/$name" ]; then link "$name"; fi
	done
	point "${new##*/}"
	for name in $required $optional $secure; do
		[ -e "$new/$name" ] || rm -f "$dir/$name"
	done
	sync "$dir" 2>/dev/null || sync
	sweep
}

# Removes sets that are not the current one: replaced, or left by a killed run.
sweep() {
	keep=$(readlink "$dir/.current")
	for set in "$dir"/.set-*; do
		[ "${set##*/}" = "$keep" ] || rm -rf "$set"
	done
}

# --- the run ---

check=false update=false from='' dir=/opt/ipxe-template
while [ $# -gt 0 ]; do
	case $1 in
	--check) check=true ;;
	--update) update=true ;;
	--from) [ $# -ge 2 ] || die '--from needs a folder'; from=$2; update=true; shift ;;
	-h | --help) sed -n '2,/^set -eu/{/^set/d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
	-*) printf 'template.sh: unknown option %s; there are --check, --update, --from FOLDER\n' "$1" >&2; exit 2 ;;
	*) dir=$1 ;;
	esac
	shift
done

bad=$(verify "$dir")
if $check; then
	[ -z "$bad" ] || { printf '%s\n' "$bad" >&2; die "$dir is not good: run setup/template.sh $dir"; }
	say "$dir is good: iPXE $(version "$dir/ipxe.efi")."
	exit 0
fi
# A folder without a list of sums is the operator's own.
if [ -z "$bad" ] && ! $update && { has_secure "$dir" || [ ! -e "$dir/$sums" ]; }; then
	say "$dir is already good: iPXE $(version "$dir/ipxe.efi"). Nothing to do."
	exit 0
fi

mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ] || die "cannot write to $dir: run as root, or make the folder and give it to $(id -un)"
exec 9<"$dir"
flock 9 # one run at a time
workplace

fetch_shim=true
if [ -z "$bad" ] && ! $update; then
	gather "$dir"
	if [ -z "$(ls "$work/shim")" ]; then
		without=$systemd
		has_shim "$dir" || without='shim: no Secure Boot'
		say "$dir is already good: iPXE $(version "$dir/ipxe.efi"), but without $without."
		exit 0
	fi
	from=$dir
elif [ -n "$from" ]; then
	fetch_shim=false
	bad=$(verify "$from")
	[ -z "$bad" ] || { printf '%s\n' "$bad" >&2; die "the files in $from will not do"; }
elif [ -z "$(verify $installed)" ]; then
	from=$installed
else
	fetch
	bad=$(verify "$from")
	[ -z "$bad" ] || { printf '%s\n' "$bad" >&2; die 'the package ipxe that the mirror has will not do'; }
fi
[ -e "$work/shim" ] || gather "$from"
[ "$from" = "$installed" ] && say "Taking the files of the installed package from $installed."
install_set
say "$dir is ready: iPXE $(version "$dir/ipxe.efi")."
for name in $optional; do
	[ -e "$dir/$name" ] || say "There is no $name: nodes of that kind will not boot."
done
has_shim "$dir" || say "There is no shim: machines with Secure Boot on will not boot."
[ -e "$dir/$systemd" ] || say "There is no $systemd: firmware in Setup Mode will not be given the key for Secure Boot."

# The container image and the appliance image, both from Debian packages. To be sourced
# by package.sh, as root.
# shellcheck shell=sh

suite=trixie # has an iPXE that is recent enough

# Makes a root of Debian, a folder or an archive; further arguments are mmdebstrap's.
debian_root() { # TARGET ARGUMENT...
	[ "$(id -u)" = 0 ] || die 'oci and appliance are made of root folders of Debian: run it as root'
	target=$1
	shift
	workplace_keys
	say "Getting packages of Debian $suite from $mirror."
	mmdebstrap --mode=root --keyring="$keys" --architectures=amd64 \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		"$@" "$suite" "$target" "$mirror" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die 'mmdebstrap went wrong'; }
}

workplace_keys() {
	[ -z "${keys:-}" ] || return 0
	find_mirror
	keyring
}

# The deb for this architecture, which both images install.
deb=farmboot_${version}_amd64.deb

# --- the container ---

container() {
	# Name and name servers of this machine do not go with it.
	# shellcheck disable=SC2016 # mmdebstrap's shell expands it
	debian_root "$work/base.tar" --variant=apt --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"'
	mkdir "$work/containers" "$work/context"
	cp "$dist/$deb" "$work/context/"
	say 'Building the container image.'
	{
		base=$(build from scratch) &&
		build add -q "$base" "$work/base.tar" / &&
		build commit -q --rm "$base" farmboot-base &&
		build build --isolation chroot --network host --pull-never --timestamp "$SOURCE_DATE_EPOCH" --format oci \
			--build-arg BASE=localhost/farmboot-base --build-arg VERSION="$version" --label "org.opencontainers.image.version=$version" \
			--tag farmboot -f $packaging/Containerfile "$work/context" &&
		build push -q farmboot "oci-archive:$work/farmboot-$version.oci.tar:farmboot:$(printf %s "$version" | tr '+~' '--')"
	} </dev/null >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die 'buildah could not make the image'; }
	keep "farmboot-$version.oci.tar"
}

# buildah, with a store of its own; it and the isolation "chroot" ask the least of a kernel.
build() { buildah --root "$work/containers/store" --runroot "$work/containers/run" --storage-driver vfs "$@"; }

# --- the appliance ---

# MiB
esp_at=1 esp_size=256 root_at=257 root_size=2048 var_at=2305 var_size=512

appliance() {
	from=$packaging/appliance/root
	root=$work/appliance
	debian_root "$root" --format=directory --variant=minbase \
		--include=systemd,systemd-sysv,systemd-boot-efi,systemd-repart,systemd-resolved,systemd-timesyncd,dbus,udev,kmod,iproute2,linux-image-amd64,initramfs-tools,zstd,e2fsprogs,dosfstools,ca-certificates,ipxe,nano,less

	say 'Making the appliance image.'
	efi=$(guid efi) root_id=$(guid root) var=$(guid var)
	cmdline="root=PARTUUID=$root_id ro quiet systemd.gpt_auto=0 net.ifnames=0 console=ttyS0,115200 console=tty0"
	cp -r $from/. "$root/"
	sed -i "s/@EFI@/$efi/; s/@ROOT@/$root_id/; s/@VAR@/$var/" "$root/etc/fstab"
	mkdir -p "$root/boot/efi"
	cp "$dist/$deb" "$root/farmboot.deb"
	# Offline: the package takes the iPXE of the installed package.
	chroot "$root" sh -euc '
		export DEBIAN_FRONTEND=noninteractive
		dpkg --install --force-confdef /farmboot.deb
		rm /farmboot.deb
		systemctl -q enable systemd-networkd systemd-networkd-wait-online systemd-resolved systemd-timesyncd farmboot-console@tty1 farmboot-console@ttyS0 farmboot-doctor etc-farmboot.mount
		systemctl -q mask getty@tty1.service serial-getty@ttyS0.service console-getty.service
		passwd -q -l root
	' >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2; die 'the package could not be installed in the appliance'; }
	rm -f "$root/etc/resolv.conf" "$root"/var/log/*.log "$root"/var/cache/apt/*.bin
	ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
	: >"$root/etc/machine-id"
	# The configuration lives with the state: see etc-farmboot.mount.
	mv "$root/etc/farmboot" "$root/var/lib/farmboot-configuration"
	mkdir "$root/etc/farmboot"

	disk=$work/farmboot-appliance-$version-amd64.img
	truncate -s $((var_at + var_size + 1))M "$disk"
	sfdisk -q "$disk" <<-TABLE
		label: gpt
		label-id: $(guid disk)
		start=${esp_at}MiB, size=${esp_size}MiB, type=U, uuid=$efi, name=efi, attrs=LegacyBIOSBootable
		start=${root_at}MiB, size=${root_size}MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, uuid=$root_id, name=root
		start=${var_at}MiB, size=${var_size}MiB, type=4d21b016-b534-45c2-a9fb-5c16e091fd2d, uuid=$var, name=state
	TABLE
	esp
	filesystem "$root/var" state $var_at $var_size
	rm -rf "$root/var"
	mkdir "$root/var"
	filesystem "$root" root $root_at $root_size
	rm -rf "$root"

	dd if=/usr/lib/syslinux/mbr/gptmbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
	zstd -q -T0 -f --rm "$disk"
	keep "${disk##*/}.zst"
}

# A UUID that the version and a name decide.
guid() { # NAME
	printf '%s %s' "$version" "$1" | sha256sum | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'
}

# Makes a file system of a folder and puts it on the disk.
filesystem() { # FOLDER LABEL START SIZE
	truncate -s "$4M" "$work/fs"
	mke2fs -q -F -t ext4 -L "$2" -U "$(guid "$2-fs")" -E hash_seed="$(guid "$2-fs")" -m 1 -d "$1" "$work/fs" "$4M"
	dd if="$work/fs" of="$disk" bs=1M seek="$3" conv=notrunc,sparse status=none
	rm "$work/fs"
}

# Makes the partition that firmware boots from: systemd-boot for UEFI and SYSLINUX for
# BIOS, which load the same kernel.
esp() {
	mkdir -p "$work/esp/EFI/BOOT" "$work/esp/loader/entries"
	cp "$root/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/esp/EFI/BOOT/BOOTX64.EFI"
	cp -L "$(newest "$root/boot/vmlinuz-*")" "$work/esp/linux"
	cp -L "$(newest "$root/boot/initrd.img-*")" "$work/esp/initrd"
	printf 'timeout 0\neditor no\n' >"$work/esp/loader/loader.conf"
	printf 'title Farmboot\nlinux /linux\ninitrd /initrd\noptions %s\n' "$cmdline" >"$work/esp/loader/entries/farmboot.conf"
	printf 'DEFAULT farmboot\nLABEL farmboot\n  LINUX /linux\n  INITRD /initrd\n  APPEND %s\n' "$cmdline" >"$work/esp/syslinux.cfg"
	mkfs.vfat -F 32 -n FARMBOOT -h $((esp_at * 2048)) -i "$(guid fat | cut -c1-8)" -C "$work/fat" $((esp_size * 1024)) >/dev/null
	(cd "$work/esp" && mcopy -s -m -i "$work/fat" -- * ::)
	syslinux --install "$work/fat"
	dd if="$work/fat" of="$disk" bs=1M seek=$esp_at conv=notrunc,sparse status=none
	rm -rf "$work/fat" "$work/esp"
}

newest() { # PATTERN
	# shellcheck disable=SC2086 # a pattern
	ls -v $1 | tail -n 1
}

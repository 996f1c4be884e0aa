#!/bin/sh
# Prints the lock of the base image: Debian's index entries of the packages that are
# installed in it today, with their checksums. make sdk-lock calls it.
set -eu
packages=$1
suite=bookworm
fields='Package|Version|Architecture|Multi-Arch|Essential|Priority|Pre-Depends|Depends|Provides|Conflicts|Breaks|Replaces|Filename|Size|SHA256'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --format=null --include="$packages" \
	--customize-hook="chroot \"\$1\" dpkg-query -W -f '\${Package}:\${Architecture}=\${Version}\n' | LC_ALL=C sort > $work/names" \
	--customize-hook="xargs -a $work/names chroot \"\$1\" apt-cache show --no-all-versions > $work/entries" \
	$suite /dev/null \
	"deb http://deb.debian.org/debian $suite main" \
	"deb http://deb.debian.org/debian $suite-updates main" \
	"deb http://deb.debian.org/debian-security $suite-security main"
grep -E "^($fields): |^$" "$work/entries"

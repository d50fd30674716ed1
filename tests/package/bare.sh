#!/bin/sh
# bare.sh FOLDER: installs, uses and removes the folder's Debian packages in a minimal Debian, which is
# created for the test and deleted. Needs root and access to Debian's packages.
set -eu
packages=$(CDPATH='' cd -- "$1" && pwd)
programs=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$root"

# in_bare COMMAND: runs one shell line in the minimal Debian.
in_bare() {
    echo "== $1"
    chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        sh -euc "cd /root && $1" </dev/null
}

# All files except those that dpkg and ldconfig maintain and those that the test put there.
files() {
    find "$root" -xdev '(' -path "$root/root" -o -path "$root/tmp" -o -path "$root/var/lib/dpkg" \
        -o -path "$root/var/cache/ldconfig" -o -path "$root/var/log" ')' -prune -o -print | sort
}

release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb *\(\[[^]]*\] *\)*\([a-z]*:[^ ]*\).*/\2/p' | head -n 1)
echo "== a minimal Debian $release"
debootstrap --variant=minbase --include=gcc,libc6-dev,libjansson4,pkg-config,python3 \
    "$release" "$root" "$mirror" >"$packages/bare.txt" 2>&1 || {
    tail -n 20 "$packages/bare.txt"
    exit 1
}
cp "$packages"/*.deb "$programs/use.c" "$programs/use.py" "$root/root"
files >"$packages/before.txt"

in_bare 'dpkg -i ./*.deb'
# shellcheck disable=SC2016 # for the inner shell
in_bare 'cc use.c $(pkg-config --cflags --libs kvferry) -o use && ./use'
# shellcheck disable=SC2016
in_bare 'cc use.c -static $(pkg-config --static --cflags --libs kvferry) -o use_static && ./use_static'
in_bare 'python3 use.py libkvferry.so.0'
in_bare 'kvferry --version && kvferry replay --synthetic --requests 20 --block-bytes 4K'
in_bare 'dpkg -P kvferry libkvferry-dev libkvferry0'
in_bare '! dpkg -l | grep kvferry && ! ./use 2>/dev/null && ./use_static'
files >"$packages/after.txt"
diff "$packages/before.txt" "$packages/after.txt" || {
    echo "files differ from before the installation"
    exit 1
}
echo "installed, used and removed without a trace"

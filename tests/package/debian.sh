#!/bin/sh
# debian.sh: builds the Debian packages, unpacks them into a folder, uses them from there and runs
# lintian.
set -eu
. "$(dirname -- "$0")/support.sh"
wants cpack dpkg-deb dpkg-shlibdeps file pkg-config

quietly cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$work/made"
set -- "$work"/made/*.deb
wanted='libkvferry0 libkvferry-dev'
for module in $MODULES; do
    wanted="$wanted libkvferry-${module}0 libkvferry-$module-dev"
done
for package in $wanted; do
    ls "$work/made/${package}"_*.deb >/dev/null || fail "there is no package $package"
done

# Every file is in exactly one package, and each package depends on those of the same build it needs.
for package; do
    dpkg-deb --fsys-tarfile "$package" | tar -t | grep -v '/$' >>"$work/files"
    dpkg-deb -f "$package" Depends >"$work/depends"
    version=$(dpkg-deb -f "$package" Version)
    case $package in
    */libkvferry-dev_* | */libkvferry-cuda0_*)
        grep -qF "libkvferry0 (= $version)" "$work/depends" || fail "$package does not need libkvferry0"
        ;;
    */libkvferry0_*) grep -q libc6 "$work/depends" || fail "dependencies of $package are missing" ;;
    esac
    dpkg-deb -x "$package" "$work/root"
done
twice=$(sort "$work/files" | uniq -d)
[ -z "$twice" ] || fail "in several packages: $twice"

libraries=$(libraries_of "$work/root")
export PKG_CONFIG_PATH="$libraries/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export LD_LIBRARY_PATH="$libraries${FAKES:+:$FAKES}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# shellcheck disable=SC2046 # several words each
quietly "$CC" -std=c11 $(pkg-config --cflags kvferry) "$programs/use.c" $(pkg-config --libs kvferry) \
    -o "$work/use"
"$work/use"
if can_run "$work/root/usr/bin/kvferry"; then
    quietly "$work/root/usr/bin/kvferry" --version
fi

# maintscript-calls-ldconfig comes from CPack, initial-upload-closes-no-bugs concerns Debian itself, and
# pkg-config's path for cross compiling depends on the build's prefix.
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning --suppress-tags maintscript-calls-ldconfig \
        --suppress-tags initial-upload-closes-no-bugs \
        --suppress-tags pkg-config-unavailable-for-cross-compilation "$@"
fi

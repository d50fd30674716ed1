#!/bin/sh
# Sourced by bench/run and tests/run: installs what the project needs on Debian 12, and builds it.
# Looks for commands and modules instead of packages, so that nothing is installed where they come from
# elsewhere. All messages go to stderr or to the log.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
self=$(basename "$(dirname "$0")")/$(basename "$0")
jobs=$(nproc)
log=$root/build/log.txt
missing=

say() {
    echo "$self: $*" >&2
}

# need PACKAGE CHECK...: notes the package as missing if the check fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_c_library() {
    echo '#include <stdio.h>' | "${CC:-cc}" -E -
}

need_for_tool() {
    need gcc command -v "${CC:-cc}"
    need libc6-dev has_c_library
    need cmake command -v cmake
    need make command -v make
    need pkg-config command -v pkg-config
    need libxxhash-dev pkg-config --exists 'libxxhash >= 0.8.1'
    need libjansson-dev pkg-config --exists jansson
}

need_for_tests() {
    need_for_tool
    need g++ command -v c++
    need libcmocka-dev pkg-config --exists 'cmocka >= 1.1.5'
    need python3 python3 -c 'import ctypes'
    need dpkg-dev command -v dpkg-shlibdeps
    need file command -v file
    need help2man command -v help2man
}

# Large, so only the long tier installs it; without it the tests labelled browser are skipped.
need_for_browser() {
    need chromium command -v chromium
}

# The output of clang-format and clang-tidy depends on their version, so it is pinned.
need_for_clang() {
    need clang-14 command -v clang-14
    need libclang-rt-14-dev has_clang_runtime
}

need_for_lint() {
    need_for_clang
    need clang-format-14 command -v clang-format-14
    need clang-tidy-14 command -v clang-tidy-14
    need doxygen command -v doxygen
    need mandoc command -v mandoc
}

has_clang_runtime() {
    test -e "$(clang-14 -print-runtime-dir)/libclang_rt.fuzzer-$(uname -m).a"
}

install_missing() {
    # shellcheck disable=SC2086 # one word a package
    set -- $missing
    missing=
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "packages are missing; run as root: apt-get install --no-install-recommends $*"
        exit 2
    fi
    say "installing $*"
    quietly apt-get update -q
    quietly env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}

# quietly COMMAND...: writes the output to the log, and shows it only if the command fails.
quietly() {
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        say "failed: $*"
        exit 1
    fi
}

# build FOLDER TARGET [CMAKE ARGUMENTS...]
build() {
    folder=$1
    target=$2
    shift 2
    [ -e "$root/$folder/CMakeCache.txt" ] || say "building in $folder/"
    quietly cmake -S "$root" -B "$root/$folder" "$@"
    quietly cmake --build "$root/$folder" --parallel "$jobs" --target "$target"
}

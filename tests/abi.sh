#!/bin/sh
# abi.sh INCLUDE BEFORE CC: compares the C headers in INCLUDE with those of the last tagged version in
# BEFORE.
# abi.sh --renew: makes today's headers, without their comments, those of the last tagged version:
# tests/abi/kvferry. For the commit that gets the tag.
#
# What may change before 1.0, when the version in status.h and CMakeLists.txt is 0.MINOR.PATCH:
#
#  - Within one minor version a program built with any header compiles with any later one, and runs
#    with any later library. So a patch version may add functions, types, headers, constants, and
#    statuses and other enumerators behind those that there are. Nothing that there is changes: no
#    name, type, value or parameter, and no member of a struct (one more changes its size).
#  - What a comment promises is kept within one minor version, too. No program can check that.
#  - A minor version may change anything, and programs are compiled anew. The SOVERSION stays 0
#    until 1.0. That programs built for another minor version are refused when they are loaded, and
#    do not go wrong later, is the work of the symbols' version node, KVFERRY_0.MINOR.
#
# From 1.0 on, the same holds for a major version and the node KVFERRY_MAJOR.
#
# Both sets of headers are compiled by one compiler, into libraries that have nothing but their types
# and functions, for abidiff to compare by their debug information, and into programs that print
# their constants.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export LC_ALL=C

if [ "${1-}" = --renew ]; then
    mkdir -p "$here/abi/kvferry"
    rm -f "$here"/abi/kvferry/*.h
    for path in "$here"/../include/kvferry/*.h; do
        awk -f "$here/uncomment.awk" "$path" >"$here/abi/kvferry/$(basename "$path")"
    done
    exit 0
fi
now=$1
before=$2
cc=$3
if ! command -v abidiff >/dev/null; then
    echo "skipped: there is no abidiff (package abigail-tools)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# version DIR: "MAJOR MINOR PATCH".
version() {
    for part in MAJOR MINOR PATCH; do
        sed -n "s/^#define KVF_VERSION_$part  *\([0-9]*\)$/\1/p" "$1/kvferry/status.h"
    done | paste -s -d ' '
}

# series VERSION: what versions have in common that go together, "0.MINOR" or "MAJOR".
series() {
    echo "$1" | awk '{ print ($1 > 0 ? $1 : $1 "." $2) }'
}

# Every prototype becomes a function that only traps.
functions() {
    "$cc" -E -P -I "$1" "$work/all.h" | tr '\n' ' ' | tr ';' '\n' |
        sed -n '/visibility("default")/s/$/ { __builtin_trap(); }/p'
}

# Enumerators, which the preprocessor leaves, and macros that stand for a number.
constants() {
    "$cc" -E -P -I "$1" "$work/all.h" | grep -o '\<KVF_[A-Z0-9_]*'
    "$cc" -E -dM -I "$1" "$work/all.h" |
        sed -n 's/^#define \(KVF_[A-Z0-9_]*\) \([^" ].*\)/\1/p' |
        grep -v '^KVF_API$\|^KVF_VERSION_'
}

# surrogate NAME DIR: $work/NAME.so and $work/NAME.constants.
surrogate() {
    for path in "$2"/kvferry/*.h; do
        echo "#include <kvferry/$(basename "$path")>"
    done >"$work/all.h"
    { cat "$work/all.h" && functions "$2"; } >"$work/$1.c"
    "$cc" -std=gnu11 -g -O0 -w -fPIC -shared -I "$2" "$work/$1.c" -o "$work/$1.so"
    {
        cat "$work/all.h"
        echo '#include <stdio.h>'
        echo 'int main(void) {'
        constants "$2" | sort -u |
            sed 's/.*/printf("%s %lld\\n", "&", (long long)(&));/'
        echo 'return 0; }'
    } >"$work/$1_constants.c"
    "$cc" -std=gnu11 -w -I "$2" "$work/$1_constants.c" -o "$work/$1_constants"
    "$work/$1_constants" | sort >"$work/$1.constants"
    [ -s "$work/$1.constants" ]
}

# Of enums only the constants count, which are compared by themselves.
compare() {
    (cd "$before/kvferry" && ls ./*.h) >"$work/headers_before"
    (cd "$now/kvferry" && ls ./*.h) >"$work/headers_now"
    comm -23 "$work/headers_before" "$work/headers_now" | sed 's/$/: the header is gone/'
    comm -23 "$work/before.constants" "$work/now.constants" |
        sed 's/$/: the constant is gone or has another value now/'
    printf '[suppress_type]\n  type_kind = enum\n' >"$work/suppressions"
    code=0
    abidiff --no-added-syms --harmless --suppressions "$work/suppressions" "$work/before.so" \
        "$work/now.so" >"$work/report" || code=$?
    [ "$code" -eq 0 ] || cat "$work/report"
    [ $((code & 3)) -eq 0 ] || echo "abidiff itself failed"
}

version_now=$(version "$now")
version_before=$(version "$before")
if [ "$(printf '%s\n' "$version_before" "$version_now" | sort -n -k1,1 -k2,2 -k3,3 | tail -n 1)" \
    != "$version_now" ]; then
    echo "version $version_now is older than $version_before, the last tagged one"
    exit 1
fi
surrogate before "$before"
surrogate now "$now"
compare >"$work/changes"
[ -s "$work/changes" ] || exit 0
head -n 100 "$work/changes"
if [ "$(series "$version_now")" != "$(series "$version_before")" ]; then
    echo "These changes are allowed: version $version_now, the last tagged one is $version_before."
    exit 0
fi
cat <<END
A version $(series "$version_before").x may not change this. Undo it, or raise the version (status.h and
CMakeLists.txt). The rule, and how the tagged headers are renewed, stands in tests/abi.sh.
END
exit 1

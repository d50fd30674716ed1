#!/bin/sh
# abi_bites.sh INCLUDE CC: abi.sh finds what it is there to find, in copies of the headers with one
# change each, and lets pass what may be added.
set -eu
include=$1
cc=$2
here=$(dirname "$0")
if ! command -v abidiff >/dev/null; then
    echo "skipped: there is no abidiff (package abigail-tools)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# change EXPECTED HEADER SED...: the exit code that abi.sh has for the change, and with 1 that it
# tells of the rule.
change() {
    expected=$1
    header=$2
    shift 2
    rm -rf "$work/kvferry"
    cp -R "$include/kvferry" "$work/kvferry"
    sed -i "$@" "$work/kvferry/$header"
    if cmp -s "$include/kvferry/$header" "$work/kvferry/$header"; then
        echo "$header has no such line any more: $*"
        bad=1
        return
    fi
    code=0
    sh "$here/abi.sh" "$work" "$include" "$cc" >"$work/out" 2>&1 || code=$?
    if [ "$code" -ne "$expected" ] || { [ "$code" -ne 0 ] && ! grep -q 'may not change' "$work/out"; }; then
        echo "exit code $code, expected $expected, for $header: $*"
        cat "$work/out"
        bad=1
    fi
}

change 1 transfer.h -e 's/ src_layout;/ other;/' -e 's/ dst_layout;/ src_layout;/' -e 's/ other;/ dst_layout;/'
change 1 transfer.h 's/    size_t event_count;/&\n    int one_more;/'
change 1 transfer.h 's/bool background; /bool background, in_a_hole; /'
change 1 transfer.h 's/unsigned priority;/unsigned of_another_name;/'
change 1 transfer.h 's/unsigned priority;/int priority;/'
change 1 engine.h '/^KVF_API const char \*kvf_engine_name/d'
change 1 engine.h 's/^KVF_API size_t kvf_engine_progress/KVF_API int kvf_engine_progress/'
change 1 engine.h 's/^typedef void (\*kvf_callback)(/typedef int (*kvf_callback)(/'
change 1 engine.h 's/^#define KVF_PRIORITIES 4/#define KVF_PRIORITIES 5/'
change 1 status.h 's/^    X(KVF_ERR_GAP,/    X(KVF_ERR_BETWEEN, "") &/'
change 1 status.h 's/KVF_ERROR_INDEX = 1 << 2/KVF_ERROR_INDEX = 1 << 9/'
change 1 bound.h 's/^#include "flight.h"/&\n#define kvf_bound_cancel kvf_bound_stop/'
change 0 engine.h 's/^KVF_API const char \*kvf_engine_name/KVF_API int kvf_engine_more(int x);\n&/'
change 0 status.h 's/    X(KVF_ERR_PEER, .*)$/& X(KVF_ERR_LAST, "")/'
change 0 status.h 's/^#define KVF_VERSION_STRING/#define KVF_ONE_MORE 1\n&/'
change 0 status.h -e 's/^\(#define KVF_VERSION_MINOR  *\)\([0-9]*\)/\11\2/' \
    -e 's/KVF_ERROR_INDEX = 1 << 2/KVF_ERROR_INDEX = 1 << 9/'

# refused TEXT ARGUMENTS...: abi.sh fails and says so.
refused() {
    text=$1
    shift
    if sh "$here/abi.sh" "$@" >"$work/out" 2>&1 || ! grep -q "$text" "$work/out"; then
        echo "should have been refused with \"$text\": $*"
        cat "$work/out"
        bad=1
    fi
}

# What the last change has left is of the next minor version.
refused 'is older than' "$include" "$work" "$cc"
exit "$bad"

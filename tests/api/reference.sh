#!/bin/sh
# reference.sh DOXYFILE INCLUDE: Doxygen makes the reference of the C headers without a warning, and
# every function, member, value and macro has a comment. Each header, including those for C++, starts
# with paragraphs on threads, ownership, lifetimes and errors, in this order. Then breaks a copy of a
# header in each of these ways and expects a complaint. C++ names that mirror C need no comment.
set -eu
doxyfile=$1
include=$2
if ! command -v doxygen >/dev/null; then
    echo "skipped: doxygen is missing"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# make_reference FILE OR FOLDER...: makes the reference of these alone, as XML.
make_reference() {
    rm -rf "$work/out"
    mkdir "$work/out"
    {
        cat "$doxyfile"
        printf '%s = %s\n' OUTPUT_DIRECTORY "$work/out" GENERATE_HTML NO GENERATE_XML YES \
            INPUT "$*"
    } | doxygen - 2>&1
}

# Enum values without a comment, about which Doxygen does not warn.
bare_values() {
    awk '/<enumvalue / { inside = 1; text = "" }
        inside { text = text $0 }
        /<\/enumvalue>/ {
            inside = 0
            name = text
            sub(/.*<name>/, "", name)
            sub(/<\/name>.*/, "", name)
            if (text !~ /<para>/)
                print name ": the value has no comment"
        }' "$work"/out/xml/*_8h.xml
}

# The paragraphs of a header's first comment; `*/` ends them.
paragraphs() {
    sed -n -e '1!{/\*\//q;}' -e 's/^ \* @par //p' "$1" | tr '\n' ' '
}

# check FOLDER [INPUT...]: prints what is wrong; returns 0 if nothing is.
check() {
    folder=$1
    shift
    wrong=0
    make_reference "$folder" "$@" || wrong=1
    bare_values >"$work/bare"
    cat "$work/bare"
    [ ! -s "$work/bare" ] || wrong=1
    for header in "$folder"/*.h "$folder"/*.hpp; do
        [ -e "$header" ] || continue
        [ "$(sed 1q "$header")" = "/** @file" ] &&
            [ "$(paragraphs "$header")" = "Threads Ownership Lifetimes Errors " ] && continue
        echo "$(basename "$header"): must have Threads, Ownership, Lifetimes, Errors on top"
        wrong=1
    done
    return "$wrong"
}

check "$include/kvferry" "$include/README.md" || exit 1

# --- the check fails when it should ---

# bites WANTED SED_SCRIPT: after the script has changed a copy of status.h, the check prints WANTED.
bites() {
    rm -rf "$work/kvferry"
    mkdir "$work/kvferry"
    sed "$2" "$include/kvferry/status.h" >"$work/kvferry/status.h"
    if cmp -s "$include/kvferry/status.h" "$work/kvferry/status.h"; then
        echo "the script changes nothing: $1"
        exit 1
    fi
    if check "$work/kvferry" >"$work/complaints"; then
        echo "no complaint: $1"
        exit 1
    fi
    grep -q -e "$1" "$work/complaints" || {
        cat "$work/complaints"
        echo "complains about something other than: $1"
        exit 1
    }
}

bites 'Member kvf_bare_call' 's/^} kvf_range;/&\n\nKVF_API int kvf_bare_call(void);/'
bites 'Compound kvf_bare_struct' 's/^} kvf_range;/&\n\nstruct kvf_bare_struct {\n    int bare;\n};/'
bites 'Member bare_member' 's/^    uint64_t start;/    uint64_t bare_member;\n&/'
bites 'KVF_BARE_VALUE' 's/^    KVF_ERROR_ID = /    KVF_BARE_VALUE = 1 << 9,\n&/'
bites 'Member KVF_BARE_MACRO' 's/^} kvf_range;/&\n\n#define KVF_BARE_MACRO 1/'
bites 'on top' 's/^ \* @par Lifetimes$/ * @par Life/'
bites 'on top' '/^ \* @par Errors$/d'

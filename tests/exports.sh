#!/bin/sh
# exports.sh INCLUDE STATIC_LIBRARY SHARED_LIBRARY CC: the shared library exports every function
# that the core's headers declare and nothing else; no global symbol of the static one lacks our prefix.
set -eu
include=$1
static_library=$2
shared_library=$3
cc=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

# Once comments and macros are gone, every name before a parenthesis is a prototype's.
prototypes() {
    grep -o 'kvf_[a-z0-9_]*(' | tr -d '(' | sort -u
}
for path in "$include"/kvferry/*.h; do
    case $path in */cuda.h | */nccl.h) continue ;; esac # libraries of their own
    "$cc" -E -P -I "$include" -x c "$path"
done | tr '\n' ' ' | tr ';' '\n' >"$work/code"
prototypes <"$work/code" >"$work/declared"
grep visibility "$work/code" | prototypes >"$work/marked"
nm -D --defined-only "$shared_library" | awk '$2 != "A" {sub("@.*", "", $3); print $3}' |
    sort -u >"$work/exported"
nm -g --defined-only "$static_library" | awk 'NF == 3 {print $3}' | sort -u >"$work/global"

bad=0
# complain TEXT: about each line of standard input.
complain() {
    while read -r name; do
        echo "$name: $1"
        bad=1
    done
    return "$bad"
}

[ -s "$work/declared" ] && [ -s "$work/exported" ] && [ -s "$work/global" ]
comm -23 "$work/declared" "$work/marked" | complain "declared without KVF_API" || bad=1
comm -23 "$work/declared" "$work/exported" | complain "declared but not exported" || bad=1
comm -13 "$work/declared" "$work/exported" | complain "exported but not declared" || bad=1
grep -v '^kvf_' "$work/global" | complain "a global symbol without the prefix kvf_" || bad=1
comm -13 "$work/declared" "$work/global" | grep '^kvf_[a-z]' |
    complain "looks public but no header declares it" || bad=1
exit "$bad"

#!/bin/sh
# exports.sh INCLUDE SOURCES MODULES CC NAME:HEADERS:STATIC:SHARED...: what our libraries let others see.
#
# Each shared library exports every function that its headers declare, under its own version, and
# under a private version what SOURCES mark for the modules and these use; nothing else. MODULES is
# "complete" when all that uses it is among the libraries. No global symbol of a static library lacks
# our prefix. HEADERS is core, or the name of a header. SHARED may be empty.
set -eu
include=$1
sources=$2
modules=$3
cc=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

# Once comments and macros are gone, every name before a parenthesis is a prototype's.
prototypes() {
    grep -o 'kvf_[a-z0-9_]*(' | tr -d '(' | sort -u
}

# code_of HEADERS: their prototypes, one a line, without those of headers of other libraries.
code_of() {
    for path in "$include"/kvferry/*.h; do
        header=$(basename "$path" .h)
        case $header in cuda | nccl) library=$header ;; *) library=core ;; esac
        [ "$library" = "$1" ] || continue
        "$cc" -E -I "$include" -x c "$path" |
            awk -v wanted="$path" '/^#/ { ours = index($3, wanted) } !/^#/ && ours'
    done | tr '\n' ' ' | tr ';' '\n'
}

# exported LIBRARY PATTERN: names that it exports under versions that match.
exported() {
    nm -D --defined-only "$1" | awk -v version="@@$2\$" '$2 != "A" && $3 ~ version {
        sub("@.*", "", $3); print $3 }' | sort -u
}

bad=0
# complain TEXT: about each line of standard input.
complain() {
    while read -r name; do
        echo "$name: $1"
        bad=1
    done
    return "$bad"
}

# check_library NAME HEADERS STATIC SHARED
check_library() {
    code_of "$2" >"$work/code"
    prototypes <"$work/code" >"$work/declared"
    grep visibility "$work/code" | prototypes >"$work/marked"
    nm -g --defined-only "$3" | awk 'NF == 3 {print $3}' | sort -u >"$work/global"
    [ -s "$work/declared" ] && [ -s "$work/global" ]
    comm -23 "$work/declared" "$work/marked" | complain "declared without KVF_API" || bad=1
    # What nvcc makes of kernels is C++, with our names inside; NVTX has its own names, weak ones, in
    # every program that uses it.
    grep -v -e '^kvf_' -e '^_Z.*kvf__' -e '^nvtx' -e 'Nvtx2_fnptr$' "$work/global" | complain "a global symbol without the prefix kvf_" || bad=1
    comm -13 "$work/declared" "$work/global" | grep '^kvf_[a-z]' |
        complain "looks public but no header declares it" || bad=1
    [ -n "$4" ] || return 0
    exported "$4" "${1}_[0-9.]+" >"$work/public"
    exported "$4" "${1}_PRIVATE_[0-9.]+" >>"$work/private"
    exported "$4" '.*' >"$work/all"
    [ -s "$work/public" ]
    comm -23 "$work/declared" "$work/public" | complain "declared but not exported" || bad=1
    comm -13 "$work/declared" "$work/public" | complain "exported but not declared" || bad=1
    exported "$4" "${1}_PRIVATE_[0-9.]+" | sort -u "$work/public" - | comm -13 - "$work/all" |
        complain "exported under a version that is neither public nor private" || bad=1
    nm -D --undefined-only "$4" | awk '{sub("@.*", "", $2); print $2}' | grep '^kvf__' \
        >>"$work/needed" || :
}

: >"$work/private"
: >"$work/needed"
for library; do
    old=$IFS
    IFS=:
    # shellcheck disable=SC2086 # its parts
    set -- $library
    IFS=$old
    check_library "$1" "$2" "$3" "${4-}"
done
cat "$sources"/src/*.h "$sources"/cuda/*.h | tr '\n' ' ' | tr ';' '\n' |
    sed -n 's/.*KVF__MODULES //p' | sed -n 's/\(kvf__[a-z0-9_]*\)[[(].*/\1/p' | sed 's/.*[ *]//' |
    sort -u >"$work/for_modules"
sort -u -o "$work/private" "$work/private"
sort -u -o "$work/needed" "$work/needed"
if [ -s "$work/private" ]; then
    grep -v '^kvf__' "$work/private" | complain "private, but looks public" || bad=1
    comm -13 "$work/for_modules" "$work/private" | complain "exported, not marked for modules" || bad=1
    comm -13 "$work/private" "$work/needed" | complain "used by a module, not exported" || bad=1
fi
if [ "$modules" = complete ]; then
    comm -23 "$work/for_modules" "$work/private" | complain "marked for modules, not exported" || bad=1
    comm -23 "$work/private" "$work/needed" | complain "exported for modules, none uses it" || bad=1
fi
exit "$bad"

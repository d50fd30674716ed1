#!/bin/sh
# exports.sh INCLUDE LIST MODULES [NODE STATIC SHARED]...: checks what each of our libraries exports.
#
# A library exports every function that its headers declare, none of them inline, under its version
# NODE; LIST has them all. Under NODE_PRIVATE it exports exactly what our modules use, which is checked
# if MODULES is "complete". Every global symbol of the static library has our prefix.
set -eu
include=$1
list=$2
modules=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
bad=0

# same TEXT FILE FILE
same() {
    diff "$2" "$3" >"$work/difference" && return
    echo "$1:"
    grep '^[<>]' "$work/difference"
    bad=1
}

# headers_of NODE
headers_of() {
    case $1 in
    KVFERRY) find "$include/kvferry" -name '*.h' ! -name cuda.h ! -name nccl.h ;;
    KVFERRY_CUDA) echo "$include/kvferry/cuda.h" ;;
    KVFERRY_NCCL) echo "$include/kvferry/nccl.h" ;;
    esac
}

# dynamic SHARED OPTION: its symbols as NAME@NODE, without the node's version number.
dynamic() {
    nm -D "$2" "$1" | awk '$(NF - 1) != "A" { print $NF }' | sed 's/@@*/@/; s/_[0-9.]*$//' | sort
}

# check NODE STATIC SHARED
check() {
    headers_of "$1" | xargs grep -hw inline >"$work/inline" || :
    same "> inline, which other languages cannot call" /dev/null "$work/inline"
    headers_of "$1" | xargs sed -n 's/^KVF_API .*[ *]\(kvf_[a-z0-9_]*\)(.*/\1/p' | sort >"$work/declared"
    sed "s/\$/@$1/" "$work/declared" >"$work/expected"
    dynamic "$3" --defined-only >"$work/exported"
    grep -v "^kvf__.*@$1_PRIVATE\$" "$work/exported" >"$work/public"
    same "< declared, > exported by $3" "$work/expected" "$work/public"

    comm -23 "$work/exported" "$work/public" >>"$work/for_modules"
    dynamic "$3" --undefined-only | grep '^kvf__' >>"$work/used" || :

    nm -g --defined-only "$2" | awk 'NF == 3 { print $3 }' | sort -u >"$work/global"
    grep '^kvf_[a-z]' "$work/global" >"$work/public_by_name"
    same "< declared, > a public name in $2" "$work/declared" "$work/public_by_name"
    # nvcc turns kernels into C++ symbols that contain our names. NVTX defines weak symbols of its own
    # in every program that uses it.
    grep -v -e '^kvf_' -e '^_Z.*kvf__' -e '^nvtx' -e 'Nvtx2_fnptr$' "$work/global" >"$work/foreign" || :
    same "> a name without the prefix kvf_ in $2" /dev/null "$work/foreign"

    grep -v "@$1\$" "$work/list" | sort - "$work/public" >"$work/renewed"
    mv "$work/renewed" "$work/list"
}

cp "$list" "$work/list"
: >"$work/for_modules"
: >"$work/used"
while [ $# -gt 0 ]; do
    check "$1" "$2" "$3"
    shift 3
done
if [ "$modules" = complete ]; then
    sort -o "$work/for_modules" "$work/for_modules"
    sort -u -o "$work/used" "$work/used"
    same "< used by a module, > exported for modules" "$work/used" "$work/for_modules"
fi
if ! cmp -s "$list" "$work/list"; then
    same "< listed, > exported" "$list" "$work/list"
    cp "$work/list" exports.txt
    echo "If this is intended: cp $PWD/exports.txt $list"
fi
exit "$bad"

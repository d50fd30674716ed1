#!/bin/sh
# pkg_config.sh: builds programs with the flags of pkg-config, in C and C++, shared and static.
set -eu
. "$(dirname -- "$0")/support.sh"
wants pkg-config "$CC" "$CXX"

libraries=$(libraries_of "$STAGE")
export PKG_CONFIG_PATH="$libraries/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export LD_LIBRARY_PATH="$libraries${FAKES:+:$FAKES}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# compile OUT COMPILER FLAGS_AND_FILES...
compile() {
    out=$work/$1
    shift
    quietly "$@" -Wall -Wextra -Werror -o "$out"
}

# shellcheck disable=SC2046 # several words each
for language in "$CC|c|-std=c11" "$CXX|cpp|-std=c++17"; do
    compiler=${language%%|*} standard=${language##*|}
    program=${language#*|} && program=$programs/use.${program%|*}
    compile shared "$compiler" "$standard" $(pkg-config --cflags kvferry) "$program" \
        $(pkg-config --libs kvferry)
    needs_shared "$work/shared" yes
    "$work/shared"
    compile static "$compiler" "$standard" -static $(pkg-config --static --cflags kvferry) \
        "$program" $(pkg-config --static --libs kvferry)
    needs_shared "$work/static" no
    "$work/static"
done

# The modules, with the shared libraries and with a folder that has only the static ones.
mkdir "$work/only_static"
cp "$libraries"/*.a "$work/only_static"
# shellcheck disable=SC2046
for module in $MODULES; do
    set -- "$CC" -std=c11 $(pkg-config --cflags "kvferry-$module") "$programs/use_modules.c"
    [ "$module" != nccl ] || set -- "$@" -DWITH_NCCL
    compile shared "$@" $(pkg-config --libs "kvferry-$module")
    needs_shared "$work/shared" yes
    compile static "$@" -L"$work/only_static" $(pkg-config --static --libs "kvferry-$module" |
        sed "s| -L$libraries||g; s|-L[^ ]*/pkgconfig/[^ ]*||g")
    needs_shared "$work/static" no
    for kind in shared static; do
        [ -z "$FAKES" ] || "$work/$kind"
    done
done

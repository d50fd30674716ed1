#!/bin/sh
# cmake.sh find_package|add_subdirectory|FetchContent: builds and runs the programs of a CMake project
# that uses kvferry in this way.
set -eu
. "$(dirname -- "$0")/support.sh"
wants "$CC" "$CXX"
way=$1

# configure MODULES [ARGUMENTS...]
configure() {
    modules=$1
    shift
    cmake -S "$programs/outside" -B "$work/build" -DWAY="$way" -DMODULES="$modules" \
        -DPROGRAMS="$programs" -DSOURCE="$SOURCE" -DARCHIVE="$work/kvferry.tar" \
        -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" \
        -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
}

modules=$(echo "$MODULES" | tr ' ' ';')
libraries=$(libraries_of "$STAGE")
runtimes=$FAKES
case $way in
find_package)
    runtimes=$libraries${FAKES:+:$FAKES}
    quietly configure "$modules" -DCMAKE_PREFIX_PATH="$STAGE"
    ;;
add_subdirectory)
    modules=
    quietly configure "" -DKVF_CUDA=OFF
    ;;
FetchContent)
    # Without kernels, which are slow to compile and make no difference here.
    tar -C "$SOURCE" -cf "$work/kvferry.tar" CMakeLists.txt LICENSE include src cuda
    quietly configure "$modules" -DCMAKE_CUDA_COMPILER=NOTFOUND \
        -DKVF_CUDA="$([ -n "$modules" ] && echo ON || echo OFF)"
    ;;
esac
quietly cmake --build "$work/build" --parallel 2
for program in "$work"/build/use_*; do
    case $program in
    *_static) needs_shared "$program" no ;;
    *) needs_shared "$program" yes ;;
    esac
    case $program in
    *use_cuda* | *use_nccl*) [ -n "$FAKES" ] || continue ;;
    esac
    LD_LIBRARY_PATH=$runtimes${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$program" || fail "$program failed"
done

# Warnings in our sources must not fail the other project.
awk '/"command"/ && /package\/use/ {print}' "$work/build/compile_commands.json" >"$work/commands"
[ -s "$work/commands" ] || fail "no commands to look at"
! grep -E -e '-Wconversion|-D_GNU_SOURCE|-fvisibility' "$work/commands" || fail "our flags leaked"

if [ "$way" = find_package ]; then
    # A missing module is reported by name.
    rm -rf "$work/build"
    ! configure "nonsense" -DCMAKE_PREFIX_PATH="$STAGE" >"$work/refused" 2>&1 ||
        fail "a component that does not exist was found"
    grep -q 'has no component "nonsense"' "$work/refused" || fail "not said: $(cat "$work/refused")"
    cp -R "$STAGE" "$work/core"
    rm -f "$(libraries_of "$work/core")"/cmake/kvferry/kvferryCudaTargets*
    rm -rf "$work/build"
    ! configure "cuda" -DCMAKE_PREFIX_PATH="$work/core" >"$work/refused" 2>&1 ||
        fail "a component that was not built was found"
    tr -s ' \n' ' ' <"$work/refused" | grep -q 'no component "cuda": building it needs the CUDA' ||
        fail "not said: $(cat "$work/refused")"
    exit 0
fi

# The project's installation contains nothing of ours unless requested.
DESTDIR=$work/plain quietly cmake --install "$work/build"
[ -z "$(find "$work/plain" -name '*kvferry*')" ] || fail "$(find "$work/plain" -name '*kvferry*')"
if [ "$way" = add_subdirectory ]; then
    quietly configure "" -DKVF_CUDA=OFF -DKVF_INSTALL=ON
    quietly cmake --build "$work/build" --parallel 2
    DESTDIR=$work/asked quietly cmake --install "$work/build"
    [ -n "$(find "$work/asked" -name kvferryConfig.cmake)" ] || fail "KVF_INSTALL installs nothing"
fi

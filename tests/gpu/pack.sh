# shellcheck shell=sh disable=SC2154 # variables of .ci/gpu
# Sourced by .ci/gpu: packs what `lease` runs into $folder, compiled and stripped, with its libraries.
#
#     bin/    the tool, with and without NCCL, the examples, gpu_driver and gpu_library
#     tests/  test programs
#     lib/    libraries that a bare machine lacks
#     fake/   for --dry-run: the fake runtime, the fake NCCL and the libraries preloaded there
#     about.txt

# Builds in build-lease/, in a subshell because setup.sh uses the same variable names.
build_programs() (
    # shellcheck source=/dev/null
    . "$root/tests/setup.sh"
    need_for_tool
    need g++ command -v c++
    need libcmocka-dev pkg-config --exists 'cmocka >= 1.1.5'
    install_missing
    build build-lease gpu_programs -DCMAKE_BUILD_TYPE=Release -DKVF_CUDA=ON
)

# pack_programs DESTINATION PROGRAM...
pack_programs() {
    where=$folder/$1
    shift
    for program; do
        strip -o "$where/${program##*/}" "$program"
    done
}

# Leaves out the programs that a build without NCCL lacks.
pack_those_with_nccl() {
    if [ ! -x "$built/tests/gpu/kvferry" ]; then
        pack_programs bin "$built/bench/kvferry"
        return 0
    fi
    pack_programs bin "$built/tests/gpu/kvferry"
    strip -o "$folder/bin/kvferry-nccl" "$built/bench/kvferry"
    pack_programs tests "$built/tests/nccl/nccl_real"
    cp -L "$built/tests/fakenccl/libnccl.so.2" "$folder/fake"
}

pack_libraries() {
    cudart=$(sed -n 's/^CUDA_CUDART:[A-Z]*=//p' "$built/CMakeCache.txt")
    soname=$(readelf -d "$cudart" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
    cp -L "$cudart" "$folder/lib/$soname"
    cp -L "$built/tests/fakecuda/$soname" "$folder/fake"
    ldd "$folder"/bin/* "$folder"/tests/* | awk '/lib(cmocka|jansson|xxhash)\.so/ { print $3 }' |
        sort -u | xargs -I '{}' cp -L '{}' "$folder/lib"
}

describe() {
    echo "packed: $(date -u '+%Y-%m-%d %H:%M') UTC"
    echo "commit: $(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)"
    echo "files changed since: $(git -C "$root" status --porcelain 2>/dev/null | wc -l)"
    echo "nvcc: $("$nvcc" --version | sed -n 's/.*release //p')"
}

# The total size in KiB, with the source tree that has to be copied along.
size_of_all() {
    (
        cd "$root" || exit
        { printf '%s\0' "$folder" && git ls-files -z --cached --others --exclude-standard; } |
            du -ck --files0-from=- | sed -n '$s/[^0-9].*//p'
    ) 2>/dev/null
}

pack() {
    if [ -z "$built" ]; then
        build_programs
        built=$root/build-lease
    fi
    nvcc=$(sed -n 's/^CMAKE_CUDA_COMPILER:[A-Z]*=//p' "$built/CMakeCache.txt")
    if [ ! -x "$nvcc" ] || [ ! -x "$built/tests/gpu/gpu_driver" ]; then
        echo "$built has no gpu_programs: nvcc or cmocka was missing" >&2
        exit 2
    fi
    for part in bin tests lib fake; do
        rm -rf "${folder:?}/$part"
        mkdir -p "$folder/$part"
    done
    folder=$(CDPATH='' cd -- "$folder" && pwd)
    pack_programs bin "$built/bench/example/kvferry_example" "$built/tests/cuda/cuda_example" \
        "$built/tests/gpu/gpu_driver" "$built/tests/gpu/gpu_library"
    for program in "$built"/tests/cuda/cuda_* "$built/tests/fakecuda/cuda_fake"; do
        [ ! -f "$program" ] || [ "${program##*/}" = cuda_example ] || pack_programs tests "$program"
    done
    pack_those_with_nccl
    pack_libraries
    pack_programs fake "$built/tests/cuda/libtool_on_fake.so" "$built/tests/gpu/libgpu_on_fake.so"
    describe >"$folder/about.txt"
    size=$(size_of_all)
    echo "$folder: $(du -sk "$folder" | sed 's/[^0-9].*//') KiB; with the tree $size KiB of 65536"
    [ "$size" -le 65536 ]
}

# shellcheck shell=sh disable=SC2154 # variables of .ci/gpu
# Sourced by .ci/gpu: the steps of `lease`, the most important first, since the time may be up before
# the last of them. steps.sh has the machinery.
# shellcheck source=tests/gpu/steps.sh
. "$root/tests/gpu/steps.sh"

all_steps="facts smoke calibrate torch-link large small calibrate-warm predictions tests-short \
tests-random strategies strategies-large memcheck nccl collective totals compute both-ways example tool \
scattered waited replay pinned driver library"

# Programs with random schedules and moves; all others are short.
random_programs="cuda_background cuda_many_blocks cuda_moves cuda_order cuda_engine_schedule \
cuda_engine_transfer cuda_segments cuda_tiles"

# --- Running programs with the right libraries ---

# folder_of LIBRARY: its folder, among those of Python packages, the loader and the toolkit.
folder_of() {
    for at in $(python3 -c 'import glob, nvidia
print(*(at for root in nvidia.__path__ for at in glob.glob(root + "/*/lib")))' 2>/dev/null) \
        $(ldconfig -p 2>/dev/null | sed -n "s|.*=> \(/.*\)/$1\$|\1|p") /usr/local/cuda/lib64; do
        if [ -e "$at/$1" ]; then
            echo "$at"
            return 0
        fi
    done
}

find_libraries() {
    libraries_before=${LD_LIBRARY_PATH-}
    preload='' driver_preload='' nccl='' blas=''
    if [ -n "$dry" ]; then
        libraries=$folder/fake:$folder/lib
        preload=$folder/fake/libtool_on_fake.so
        driver_preload=$folder/fake/libgpu_on_fake.so
        [ ! -e "$folder/fake/libnccl.so.2" ] || nccl=$folder/fake
    else
        nccl=$(folder_of libnccl.so.2)
        blas=$(folder_of libcublas.so.13)
        libraries=$folder/lib${blas:+:$blas}${nccl:+:$nccl}
    fi
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# run NAME SECONDS PROGRAM [ARGUMENT...]: a step that runs a packed program.
run() {
    name=$1 most=$2
    shift 2
    step "$name" "$most" env LD_PRELOAD="$preload" "$@"
}

# all_transfers NAME SECONDS ARGUMENT...: both directions, 256 MiB per transfer, random device ids.
all_transfers() {
    name=$1 most=$2
    shift 2
    [ -z "$dry" ] || set -- "$@" --bytes 256K --samples 2 --link-bytes 256K
    run "$name" "$most" "$folder/bin/kvferry" bench transfer --engine cuda --direction h2d,d2h \
        --pattern random --bytes 256M --samples 9 "$@" --json "$results/$name.json"
}

# transfers NAME SECONDS ARGUMENT...: the same, but after three quarters of the time the tool starts
# nothing new and reports what it left out. If it were cut off it would leave an empty JSON file.
transfers() {
    name=$1 most=$(at_most "$2")
    shift 2
    all_transfers "$name" "$most" --seconds $((most * 3 / 4 + 1)) "$@"
}

# calibrate NAME SECONDS [ARGUMENT...]: keeps the cost table, however noisy; predictions.txt has the noise.
calibrate() {
    name=$1 most=$2
    shift 2
    run "$name" "$most" "$folder/bin/kvferry" calibrate --most-noise 10 \
        ${dry:+--scratch-bytes 8M} "$@" --json "$results/$name.json"
}

# programs NAME SECONDS JOBS PROGRAM...: test programs, JOBS at a time, each limited to three quarters of
# the time. Processes take turns on a GPU, so many jobs gain little.
programs() {
    name=$1 most=$2 jobs=$3
    shift 3
    most=$(at_most "$most")
    step "$name" "$most" env KVF_TEST_SEEDS="${KVF_TEST_SEEDS:-${dry:+0.}1}" \
        sh "$root/tests/gpu/programs.sh" $((most * 3 / 4)) "$jobs" "$details" "$@"
}

# python NAME SECONDS SCRIPT [ARGUMENT...]: without our library path, as PyTorch brings its own libraries.
python() {
    if command -v python3 >/dev/null; then
        name=$1 most=$2
        shift 2
        step "$name" "$most" env LD_LIBRARY_PATH="$libraries_before" python3 "$@"
    else
        skip "$1" "no python3"
    fi
}

# on_gpu HOW NAME SECONDS COMMAND...: a step that is pointless on the fake runtime.
on_gpu() {
    if [ -n "$dry" ]; then
        skip "$2" "needs a GPU"
    else
        "$@"
    fi
}

# with_nccl NAME SECONDS PROGRAM [ARGUMENT...]
with_nccl() {
    if [ -n "$nccl" ] && [ -x "$3" ]; then
        run "$@"
    else
        skip "$1" "no NCCL"
    fi
}

# --- The steps ---

# shellcheck disable=SC2016 # for the inner shell
facts() {
    step facts 20 sh -c 'exec >"$1/facts.txt" 2>&1
        cat "$2/about.txt"
        date -u
        uname -a
        lscpu
        free -m
        cat /sys/kernel/mm/transparent_hugepage/enabled /sys/devices/system/node/online
        ldd --version | head -n 1
        echo "LD_LIBRARY_PATH: $LD_LIBRARY_PATH"
        ldd "$2"/bin/kvferry* "$2/tests/cuda_moves"
        command -v nvcc gcc cmake python3 compute-sanitizer
        nvidia-smi -q
        true' sh "$out" "$folder"
}

keep_costs() {
    cp "$XDG_CACHE_HOME"/kvferry/*.json "$out/costs.json" 2>/dev/null || true
}

# Sorts the test programs into random and short ones. Two that are slow on the fake runtime are left out
# of a dry run; they are tests of their own.
sort_programs() {
    short='' random=''
    for program in "$folder"/tests/cuda_*; do
        case $dry:${program##*/} in
        yes:cuda_calibrate | yes:cuda_faults) continue ;;
        esac
        case " $random_programs " in
        *" ${program##*/} "*) random="$random $program" ;;
        *) short="$short $program" ;;
        esac
    done
}

measure_first() {
    calibrate calibrate 40
    keep_costs
    on_gpu python torch-link 40 "$root/tests/gpu/torch_link.py" "$results/torch-link.json"
    transfers large 40 --regions 1 --fragment-bytes 64K,256K,1M,4M --poll
    transfers small 60 --regions 64 --fragment-bytes 1K,4K,8K,16K,28K --poll
    calibrate calibrate-warm 30 --output "$out/costs-warm.json"
    python predictions 10 "$root/tests/gpu/predictions.py" "$results" "$out/predictions.txt"
}

# shellcheck disable=SC2086 # lists of words
test_correctness() {
    sort_programs
    programs tests-short 40 4 $short
    programs tests-random 100 2 $random
}

measure_strategies() {
    transfers strategies 90 --regions 64 --fragment-bytes 1K,4K,16K,28K --strategy all --poll
    transfers strategies-large 40 --regions 1 --fragment-bytes 64K,128K,512K --strategy all --poll
}

measure_more() {
    counts=64,512,4096 sizes=4K,256K
    [ -z "$dry" ] || counts=64,128 sizes=4K
    transfers totals 50 --regions 64 --fragment-bytes 4K,16K --count $counts --samples 51 \
        --strategy all --latency --poll --link-bytes 32M
    transfers compute 60 --regions 64 --fragment-bytes $sizes --strategy all --samples 3 --compute
    transfers both-ways 40 --regions 64 --fragment-bytes 4K,256K --strategy all --both-ways
}

# On the fake runtime the example with emulated kernels runs.
test_programs() {
    if [ -n "$dry" ]; then
        step example 60 sh "$root/tests/tool/example.sh" "$folder/bin/cuda_example" --engine cuda
        step tool 60 sh "$root/tests/cuda/cuda_tool.sh" "$folder/bin/kvferry" "$preload" "$folder/fake"
        return 0
    fi
    step example 40 sh "$root/tests/tool/example.sh" "$folder/bin/kvferry_example" --engine cuda
    step tool 60 sh "$root/tests/cuda/cuda_tool.sh" "$folder/bin/kvferry"
}

measure_rest() {
    transfers scattered 60 --regions 64 --fragment-bytes 1K,4K --host-layout region \
        --host-pattern random --strategy all --poll
    transfers waited 30 --regions 64 --fragment-bytes 4K,256K
    set -- --block-bytes 64K --regions 16
    [ -z "$dry" ] || set -- --block-bytes 8K --requests 50
    run replay 60 "$folder/bin/kvferry" replay --engine cuda --synthetic "$@" \
        --json "$results/replay.json"
    run pinned 40 "$folder/bin/kvferry" bench pinned ${dry:+--bytes 8M} --json "$results/pinned.json"
}

# Later steps have predictions too: default waiting.
compare_again() {
    [ ! -s "$out/predictions.txt" ] ||
        python3 "$root/tests/gpu/predictions.py" "$results" "$out/predictions.txt" >>"$log" 2>&1 ||
        echo "predictions.txt is unchanged" >>"$log"
}

# Unless a process keeps the GPU open, its driver shuts down and starts again with the next program.
keep_gpu_awake() {
    if (exec 8</dev/nvidia0) 2>/dev/null; then
        exec 8</dev/nvidia0
    fi
}

lease() {
    begin
    keep_gpu_awake
    find_libraries
    facts
    all_transfers smoke 40 --bytes 32M --regions 16 --fragment-bytes 2K,64K --samples 2 \
        --link-bytes 64M --strategy all --built-in-costs
    [ "$word" = passed ] || stop_after_smoke
    measure_first
    test_correctness
    measure_strategies
    on_gpu step memcheck 60 sh "$root/tests/gpu/memcheck.sh" "$folder/tests/cuda_moves"
    set -- --real
    [ -z "$dry" ] || set --
    with_nccl nccl 30 "$folder/tests/nccl_real" "$@"
    with_nccl collective 30 "$folder/bin/kvferry-nccl" bench collective --ranks 1 --samples 3 \
        ${dry:+--bytes 600K --link-bytes 64K} --json "$results/collective.json"
    measure_more
    test_programs
    measure_rest
    step driver 150 env LD_PRELOAD="$driver_preload" "$folder/bin/gpu_driver" ${dry:+tiny}
    run library 120 "$folder/bin/gpu_library" ${dry:+tiny}
    compare_again
    finish
}

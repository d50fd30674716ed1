#!/bin/sh
# cuda_tool.sh TOOL [PRELOAD FOLDER]: tests the tool with the CUDA engine, on the fake runtime in FOLDER
# with PRELOAD (from tool_on_fake.cpp), or without these on a GPU.
set -eu
real=$1
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python
tool=$work/kvferry
cat >"$tool" <<END
#!/bin/sh
export ASAN_OPTIONS="\${ASAN_OPTIONS-}:verify_asan_link_order=0"
export TSAN_OPTIONS="\${TSAN_OPTIONS-} report_thread_leaks=0" # a message may end the tool
exec env LD_LIBRARY_PATH="${3-}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" LD_PRELOAD="${2-}" "$real" "\$@"
END
chmod +x "$tool"
export XDG_CACHE_HOME="$work/cache"
unset KVFERRY_FAKE
on_fake=${2+yes}

# faulty NAME CODE ARGUMENTS...: runs the tool with this fault of the fake.
faulty() {
    KVFERRY_FAKE=$1
    shift
    export KVFERRY_FAKE
    expect "$@"
    unset KVFERRY_FAKE
}

# transfers CODE ARGUMENTS...: small transfers in both directions.
transfers() {
    code=$1
    shift
    expect "$code" bench transfer --engine cuda --direction h2d,d2h --regions 4 --samples 3 \
        --pattern random --link-bytes 64K --json - "$@"
}

# rows COUNT: expects COUNT rows, all verified and with a speed.
rows() {
    read_json
    [ "$(grep -c '^rows\.[0-9]*\.verified BOOLEAN ON$' "$work/values")" -eq "$1" ] ||
        complain "not $1 verified rows"
    [ "$(grep -c '^rows\.[0-9]*\.gbps NUMBER ' "$work/values")" -eq "$1" ] ||
        complain "not $1 rows with a speed"
}

if ! "$tool" bench transfer --engine cuda --bytes 4K --fragment-bytes 4K --samples 1 \
    --pattern contiguous --link-bytes 64K >"$work/out" 2>"$work/err"; then
    cat "$work/err"
    [ -z "$on_fake" ] && grep -q 'there is no GPU' "$work/err" && exit 77
    exit 1
fi

# What a result reports about the machine.
transfers 0 --fragment-bytes 1000,4K --count 64
rows 4
has context.gpu STRING
has context.cuda_runtime STRING
has context.costs STRING built-in
has context.link_gbps.h2d NUMBER
has context.link_gbps.d2h NUMBER
has context.pinned_bytes NUMBER '[1-9]'
has_numbers context. pinned_huge_bytes sm_clock_mhz sm_clock_most_mhz memory_clock_mhz \
    memory_clock_most_mhz power_w power_limit_w
has rows.0.direction STRING 'h2d$'
has rows.3.direction STRING 'd2h$'
has rows.0.strategy STRING 'auto$'
has rows.0.taken STRING
has_numbers rows.0. link_gbps fraction_of_link median_us wire_us over_wire_us submit_us \
    submit_ns_per_block predicted_us prediction_error
has rows.0.link_gbps NUMBER
for name in opposing_gbps first_layer_us first_block_us compute compute_slowdown of_best_forced; do
    has "rows.0.$name" NULL
done
if [ -n "$on_fake" ]; then
    has context.imitated BOOLEAN ON
    has rows.0.imitated BOOLEAN ON
    has context.link NULL
fi

# Pinned memory, three ways.
expect 0 bench pinned --bytes 8M --samples 1 --json -
read_json
[ "$(grep -c '^rows\.[0-9]*\.way STRING ' "$work/values")" -eq 3 ] || complain "not three ways"
has_numbers rows.0. samples median_s p99_s max_s spread s_per_gib touch_s register_s
has rows.2.way STRING 'cudaHostAlloc$'
has rows.2.touch_s NULL
for row in 0 1 2; do
    has "rows.$row.verified" BOOLEAN ON
done
expect 2 bench pinned --bytes 0

# Every strategy; the engine's own choice is compared with the best of the others.
transfers 0 --fragment-bytes 512 --count 256 --strategy all
rows 10
for name in auto loop batch kernel staged; do
    [ "$(grep -c "^rows\.[0-9]*\.strategy STRING $name\$" "$work/values")" -eq 2 ] ||
        complain "not two rows of $name"
done
has rows.0.of_best_forced NUMBER
has rows.1.of_best_forced NULL
for layout in whole layer region; do
    transfers 0 --fragment-bytes 1K --count 128 --strategy loop,staged --host-layout $layout \
        --host-pattern random,stride:2
    rows 8
done
transfers 0 --fragment-bytes 4K --count 64 --both-ways
rows 2
has rows.0.both_ways BOOLEAN ON
has rows.0.opposing_gbps NUMBER
has rows.0.link_gbps NUMBER
transfers 0 --fragment-bytes 4K --count 64 --latency --poll
rows 2
has rows.0.first_layer_us NUMBER
has rows.0.first_block_us NUMBER
transfers 0 --fragment-bytes 4K --count 64 --compute
rows 2
has rows.0.compute STRING
has rows.0.compute_us NUMBER
has rows.0.compute_slowdown NUMBER
transfers 0 --fragment-bytes 4K --count 64 --no-verify
read_json
has rows.0.verified NULL

# A trace, over tiers that become full.
expect 0 replay --synthetic --requests 100 --engine cuda --device-blocks 128 --host-blocks 600 --json -
read_json
has rows.0.engine STRING 'cuda$'
has rows.0.requests NUMBER '100$'
has rows.0.corrupt_blocks NUMBER '0$'
has rows.0.onboarded NUMBER '[1-9]'
has rows.0.verified_blocks NUMBER '[1-9]'

# A stored cost table is used unless another is requested.
expect 0 calibrate --scratch-bytes 8M --most-noise 10 --json -
read_json
has context.gpu STRING
has context.calibration_seconds NUMBER
has context.calibration_noise NUMBER
has rows.0.chosen STRING
has rows.0.calibrated BOOLEAN ON
has_numbers rows.0. loop_us batch_us kernel_us staged_us wire_us
costs=$(value context.costs)
case $costs in
"$XDG_CACHE_HOME"/kvferry/cuda-*.json) ;;
*) complain "the cost table went to '$costs'" ;;
esac
[ -s "$costs" ] || complain "there is no cost table in $costs"
transfers 0 --fragment-bytes 4K --count 64
read_json
has context.costs STRING "$costs"
has context.costs_noise NUMBER
transfers 0 --fragment-bytes 4K --count 64 --built-in-costs
read_json
has context.costs STRING built-in
has context.costs_noise NULL
# A noisy calibration is reported and does not replace the stored table.
cp "$costs" "$work/before"
expect 1 calibrate --scratch-bytes 8M --most-noise 1e-9 --json "$work/noisy"
says err "$costs: not written: "
cmp -s "$costs" "$work/before" || complain "a noisy cost table was kept"
cp "$work/noisy" "$work/out"
read_json
has context.costs NULL
has context.calibration_noise NUMBER
has context.link_gbps.h2d NUMBER
has context.link_gbps.d2h NUMBER
expect 0 calibrate --scratch-bytes 8M --most-noise 10 --output "$work/costs.json"
transfers 0 --fragment-bytes 4K --count 64 --costs "$work/costs.json"
read_json
has context.costs STRING "$work/costs.json"

# Advice uses the same cost tables.
echo '{"n_layer": 2, "n_head": 2, "head_dim": 64, "dtype": "float16"}' >"$work/config.json"
for words in "" "--costs $work/costs.json"; do
    # shellcheck disable=SC2086
    expect 0 advise --model-config "$work/config.json" $words --json -
    read_json
    has context.predicted_by STRING '.* (a calibrated cost table)'
    has rows.0.h2d_gbps NUMBER
    has rows.0.d2h_gbps NUMBER
done
expect 2 advise --model-config "$work/config.json" --device 99
says err "no GPU 99"

echo nonsense >"$costs"
transfers 0 --fragment-bytes 4K --count 64
says err "$costs: "
read_json
has context.costs STRING built-in
has context.link_gbps.h2d NUMBER
has context.link_gbps.d2h NUMBER
transfers 2 --fragment-bytes 4K --count 64 --costs "$costs"
says err "$costs: "
transfers 2 --costs "$work/nothing"
says err "$work/nothing: "
expect 2 calibrate --output "$work/no/such/folder"
says err "$work/no/such/folder: "
XDG_CACHE_HOME=/proc/nothing expect 2 calibrate
says err /proc/nothing
(unset HOME XDG_CACHE_HOME && expect 2 calibrate && says err "no cache directory" &&
    [ "$failures" -eq 0 ]) || failures=$((failures + 1))
rm -f "$costs"

# Bad usage.
transfers 2 --strategy nonsense
says err "'nonsense'"
transfers 2 --engine host --direction h2h --strategy loop
transfers 2 --engine host --direction h2h --compute
transfers 2 --direction h2h
transfers 2 --compute --both-ways
transfers 2 --threads 2
transfers 2 --device 100
says err "no GPU 100"
expect 2 replay --synthetic --engine cuda --imitate-gbps 10
expect 2 calibrate --scratch-bytes 1
expect 2 calibrate nonsense

# Errors are reported.
if [ -n "$on_fake" ]; then
    faulty flip-device 1 bench transfer --engine cuda --direction h2d --fragment-bytes 4K --count 64 \
        --samples 1 --link-bytes 64K
    says err "did not arrive"
    faulty flip-source 1 bench transfer --engine cuda --direction d2h --fragment-bytes 4K --count 64 \
        --samples 1 --link-bytes 64K
    says err "did not arrive"
    faulty flip-device 1 replay --synthetic --requests 100 --engine cuda --device-blocks 128
    says err "did not arrive"
    faulty no-hold 1 bench transfer --engine cuda --count 64 --samples 1 --link-bytes 64K
    says err "held"
    for machine in no-device no-driver; do
        faulty $machine 1 bench transfer --engine cuda
        says err "there is no GPU"
        faulty $machine 1 replay --synthetic --engine cuda
        says err "there is no GPU"
        faulty $machine 1 calibrate
        says err "there is no GPU"
    done
    # A failing call either ends the tool with a message or does not matter.
    for n in 1 2 3 5 8 13 21 34 55 89 144 233 377 450 500; do
        code=0
        KVFERRY_FAKE=fail-$n ASAN_OPTIONS=detect_leaks=0 "$tool" bench transfer --engine cuda \
            --pattern random --fragment-bytes 4K --count 32 --samples 1 --link-bytes 64K \
            >"$work/out" 2>"$work/err" || code=$?
        case $code in
        0) ;;
        1) says err "kvferry: " ;;
        *) complain "with call $n failing: exit code $code, $(cat "$work/err")" ;;
        esac
    done
fi
[ "$failures" -eq 0 ]

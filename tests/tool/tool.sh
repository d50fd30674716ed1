#!/bin/sh
# tool.sh TOOL VERSION: the command line, its errors, and the JSON it writes.
set -eu
tool=$1
version=$2
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python

expect 0 --version
says out "$version"
has_cuda=yes
"$tool" calibrate --help >/dev/null 2>&1 || has_cuda=
for words in "" replay report bench "bench plan" "bench transfer" ${has_cuda:+calibrate}; do
    # shellcheck disable=SC2086 # several words
    expect 0 $words --help
    says out "Usage:"
    says out "xample"
done

# Bad usage.
expect 2
expect 2 nonsense
expect 2 --nonsense
for words in replay report bench "bench plan" "bench transfer"; do
    # shellcheck disable=SC2086
    expect 2 $words --nonsense
done
expect 2 bench nonsense
expect 2 replay
expect 2 replay --trace
expect 2 replay --synthetic more
says err "unexpected argument 'more'"
expect 2 replay --synthetic --block-bytes 0
expect 2 replay --synthetic --block-bytes many
expect 2 replay --synthetic --engine nonsense
if [ -z "$has_cuda" ]; then
    for words in "replay --synthetic --engine cuda" "bench transfer --engine cuda" calibrate; do
        # shellcheck disable=SC2086
        expect 2 $words
        says err "built without engine cuda"
    done
fi
expect 2 bench transfer --host-pattern nonsense
expect 2 bench transfer --strategy auto
expect 2 bench transfer --compute
expect 2 bench plan --blocks 10,,20
expect 2 bench transfer --pattern nonsense
expect 2 replay --synthetic --json "$work/no/such/folder"

# Errors in traces name the file and the line.
good='{"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2]}'
# bad_trace LINE TEXT: a trace with TEXT in that line is refused.
bad_trace() {
    { yes "$good" | head -n $(($1 - 1)) && printf '%s\n%s\n' "$2" "$good"; } >"$work/trace"
    expect 2 replay --trace "$work/trace"
    says err "$work/trace:$1: "
}
bad_trace 1 '{'
bad_trace 2 '[1, 2]'
bad_trace 3 '{"timestamp": 0, "hash_ids": [1, -2]}'
bad_trace 3 '{"timestamp": 0, "hash_ids": ["1"]}'
bad_trace 3 '{"timestamp": 0}'
bad_trace 4 "$good $good"
bad_trace 5 'hash_ids'
expect 2 replay --trace "$work/nothing"
says err "$work/nothing"

# The JSON document of replay, with known counts.
two_requests() {
    printf '%s\n%s\n' "$good" '{"hash_ids": [1, 2, 3, 4]}' >"$work/trace"
    expect 0 replay --trace "$work/trace" --block-bytes 4096 "$@"
}
two_requests --json -
read_json
has schema_version NUMBER '2$'
has command STRING 'replay$'
for name in version cpu compiler flags build_type kernel engine; do
    has "context.$name" STRING
done
has context.command_line STRING 'kvferry replay --trace .*/trace --block-bytes 4096 --json -$'
has context.trace STRING "$work/trace\$"
has context.trace_digest STRING 'xxh64:[0-9a-f]\{16\}$'
has context.seed NULL
has context.load NUMBER
has context.gpu NULL
has context.affinity STRING "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)\$"
if [ -r /sys/kernel/mm/transparent_hugepage/enabled ]; then
    has context.huge_pages STRING '[a-z]*$'
fi
if grep -q '^flags.* hypervisor' /proc/cpuinfo; then
    has context.virtual_machine BOOLEAN ON
fi
has rows.0.requests NUMBER '2$'
has rows.0.blocks NUMBER '6$'
has rows.0.device_hits NUMBER '2$'
has rows.0.host_hits NUMBER '0$'
has rows.0.computed NUMBER '4$'
has rows.0.offloaded NUMBER '4$'
has rows.0.offload_bytes NUMBER '16384$'
has rows.0.onboarded NUMBER '0$'
has rows.0.corrupt_blocks NUMBER '0$'
has_numbers rows.0. onboard_bytes boxes verified_blocks onboard_gbps offload_gbps median_us p99_us \
    max_us wall_seconds samples
has rows.0.verified BOOLEAN ON
has rows.0.noisy NULL
cpu=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
taskset -c "$cpu" "$tool" replay --synthetic --requests 10 --json - >"$work/out"
read_json
has context.threads NUMBER '1$'
two_requests --json "$work/out.json"
says out requests
cp "$work/out.json" "$work/out"
read_json
has rows.0.blocks NUMBER '6$'
two_requests --no-verify --json -
read_json
has rows.0.verified_blocks NUMBER '0$'
has rows.0.corrupt_blocks NULL
has rows.0.verified NULL
expect 0 replay --trace /dev/null --json -
read_json
has rows.0.requests NUMBER '0$'

expect 0 bench plan --blocks 64,1000 --json -
read_json
has rows.0.op STRING
has command STRING 'bench plan$'
has noise.bound NUMBER '0.1'
has noise.rows NUMBER '32$'
has_numbers rows.0. blocks ns_per_block median_ns p99_ns max_ns samples spread
has rows.0.p99_ns NUMBER
[ "$(grep -c '^rows\.[0-9]*\.verified BOOLEAN ON$' "$work/values")" -eq 32 ] ||
    complain "bench plan: not all operations were checked"
[ "$(grep -c '^rows\.[0-9]*\.noisy BOOLEAN ON$' "$work/values")" -eq "$(value noise.noisy)" ] ||
    complain "bench plan: noisy rows are counted wrong"
for op in hash_sequence extend_block_ids_fresh extend_block_ids_known extend_assigned contains_hit \
    contains_miss stage_pending commit_staged assign_pending zip_assigned zip_assigned_pending \
    lower_contiguous lower_random submit_background lifecycle; do
    [ "$(grep -c "^rows\.[0-9]*\.op STRING $op\$" "$work/values")" -eq 2 ] ||
        complain "bench plan: not two rows of $op"
done

small_transfers() {
    expect 0 bench transfer --engine host --fragment-bytes 512,4K --count 64 --regions 4 \
        --pattern contiguous,random --host-layout whole,layer --json - "$@"
    read_json
    [ "$(grep -c '^rows\.[0-9]*\.verified ' "$work/values")" -eq 8 ] ||
        complain "bench transfer: not a row for each of 2 x 2 x 2 combinations"
    for name in engine direction host_layout pattern; do
        has "rows.0.$name" STRING
    done
    has_numbers rows.0. fragment_bytes fragments blocks regions boxes bytes gbps link_gbps \
        fraction_of_link median_us p99_us max_us spread submit_us cpu_us samples
    has rows.0.strategy NULL # the host engine has no choice
    has rows.0.bytes NUMBER '32768$'
}
small_transfers --samples 5
has rows.0.verified BOOLEAN ON
has rows.0.p99_us NULL
small_transfers --samples 100
has rows.0.p99_us NUMBER
small_transfers --samples 5 --no-verify
has rows.0.verified NULL
has context.left_out NUMBER '0$'
expect 0 bench transfer --bytes 16M --fragment-bytes 4K,8K,16K --samples 100 --seconds 1 --json -
says err "left out"
read_json
has context.left_out NUMBER '[1-9]'
has rows.0.verified BOOLEAN ON
small_transfers --samples 5 --both-ways --latency --poll --host-pattern random
has rows.0.verified BOOLEAN ON
has rows.0.opposing_gbps NUMBER
has rows.0.link_gbps NULL # memory has no directions
has rows.0.first_layer_us NUMBER
has rows.0.first_block_us NUMBER
has rows.0.imitated BOOLEAN OFF

# A shell can run the command line in the document.
cp "$work/trace" "$work/it's a \$trace"
expect 0 replay --trace "$work/it's a \$trace" --json -
read_json
eval "set -- $(value context.command_line)"
[ "$#:$4" = "6:$work/it's a \$trace" ] || complain "not what was run: $*"

# The context comes first. Comparing runs.
expect 0 bench plan --blocks 64 --samples 3 --json "$work/before.json"
head -1 "$work/out" | grep -q '^kvferry ' || complain "the context does not come first"
says out "p99 needs 100 samples"
expect 0 bench plan --blocks 64,100 --samples 3 --compare "$work/before.json"
says out "$work/before.json"
says out "rows without a partner: 16 now, 0 before"
expect 0 bench plan --blocks 64 --samples 3 --compare "$work/before.json" --json -
read_json
has compare.figure STRING 'ns_per_block$'
has compare.rows.15.ratio NUMBER
has compare.only_now NUMBER '0$'
[ $(($(value compare.faster) + $(value compare.slower) + $(value compare.within_noise) + \
    $(value compare.unknown))) -eq 16 ] || complain "not every pair is counted once"
# The results may replace the file that they are compared with.
expect 0 bench plan --blocks 64 --samples 3 --compare "$work/before.json" --json "$work/before.json"
cp "$work/before.json" "$work/out"
read_json
has compare.rows.15.op STRING
# Nothing to compare: an error, but the results are written.
expect 2 bench plan --blocks 65 --samples 3 --compare "$work/before.json" --json -
says err "has no row"
read_json
has rows.0.blocks NUMBER '65$'
expect 2 bench transfer --compare "$work/before.json"
says err "has results of kvferry bench plan"
expect 2 bench plan --compare "$work/trace"
says err "not JSON"
expect 2 bench plan --compare "$work/nothing"
says err "$work/nothing"
[ "$failures" -eq 0 ]

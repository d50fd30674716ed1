#!/bin/sh
# replay_trace.sh TOOL TRACE: replays the production trace; skipped without it. The expected counts
# follow from the trace: with tiers that never run full, a block is a hit if it and all blocks before it
# were in an earlier request.
set -eu
tool=$1
trace=$2
if [ ! -f "$trace" ]; then
    echo "skipped: there is no $trace"
    exit 77
fi
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python

replay() {
    expect 0 replay --trace "$trace" --block-bytes 1024 --regions 4 --json - "$@"
    read_json
    has rows.0.requests NUMBER 12031
    has rows.0.blocks NUMBER 288500
    has rows.0.corrupt_blocks NUMBER 0
    hits=$(($(value rows.0.device_hits) + $(value rows.0.host_hits)))
    computed=$(value rows.0.computed)
    [ $((hits + computed)) -eq 288500 ] || complain "$hits hits + $computed computed"
    [ "$(value rows.0.verified_blocks)" -gt 0 ] || complain "nothing was verified"
}

replay --device-blocks 0 --host-blocks 0
[ "$hits" -eq 105710 ] || complain "$hits hits, not 105710"
replay --device-blocks 300 --host-blocks 1000
[ "$hits" -lt 105710 ] || complain "tiers much too small have $hits hits"
[ "$(value rows.0.onboarded)" -gt 0 ] || complain "nothing came back from the host tier"
[ "$failures" -eq 0 ]

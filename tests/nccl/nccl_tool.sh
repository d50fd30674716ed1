#!/bin/sh
# nccl_tool.sh TOOL [PRELOAD FOLDERS]: tests `bench collective` on the fake CUDA runtime and the fake
# NCCL, which are in FOLDERS (a:b); PRELOAD is the library built from ../cuda/tool_on_fake.cpp. Without
# PRELOAD and FOLDERS it runs on the machine's GPUs.
set -eu
real=$1
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python
ranks=$here/../../bench/ranks
kvferry=$work/kvferry
cat >"$kvferry" <<END
#!/bin/sh
export ASAN_OPTIONS="\${ASAN_OPTIONS-}:verify_asan_link_order=0"
export TSAN_OPTIONS="\${TSAN_OPTIONS-} report_thread_leaks=0" # the tool may exit with a message
export LD_LIBRARY_PATH="${3-}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec env LD_PRELOAD="${2-}" "$real" "\$@"
END
chmod +x "$kvferry"
tool=$kvferry
export XDG_CACHE_HOME="$work/cache"
unset KVFERRY_FAKE RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT \
    OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_RANK \
    SLURM_PROCID SLURM_NTASKS SLURM_LOCALID
on_fake=${2+yes}
small='--bytes 600K --fragment-bytes 4K --regions 4 --samples 2 --link-bytes 64K'

# collective CODE ARGUMENTS...: runs a small benchmark as one process.
collective() {
    code=$1
    shift
    # shellcheck disable=SC2086 # a list of words
    expect "$code" bench collective $small "$@"
}

# group CODE ARGUMENTS...: runs it with two ranks.
group() {
    code=$1
    shift
    tool=$ranks
    # shellcheck disable=SC2086
    expect "$code" 2 "$kvferry" bench collective $small "$@"
    tool=$kvferry
}

# begin NUMBER ARGUMENTS...: starts a rank in the background, with its output in out.NUMBER and
# err.NUMBER.
begin() {
    number=$1
    shift
    # shellcheck disable=SC2086
    ASAN_OPTIONS=detect_leaks=0 "$kvferry" bench collective $small "$@" \
        >"$work/out.$number" 2>"$work/err.$number" </dev/null &
    eval "process_$number=$!"
}

# ended NUMBER CODE: waits for that rank and expects the exit code.
ended() {
    status=0
    eval "wait \$process_$1" || status=$?
    [ "$status" -eq "$2" ] && return
    complain "rank $1: exit code $status, not $2"
    cat "$work/out.$1" "$work/err.$1"
}

# launched NAMES ARGUMENTS...: starts two ranks as a launcher would. NAMES are the variables of the
# rank, the number of ranks and the local rank.
launched() {
    names=$1
    shift
    # shellcheck disable=SC2086
    set -- $names "$@"
    rank_name=$1 ranks_name=$2 local_name=$3
    shift 3
    export "$rank_name=1" "$ranks_name=2" "$local_name=1"
    begin 1 "$@"
    export "$rank_name=0" "$local_name=0"
    collective 0 "$@" --json -
    ended 1 0
    read_json
    has rows.0.ranks NUMBER '2$'
    unset "$rank_name" "$ranks_name" "$local_name"
}

# A port that is probably free, a new one each time.
port=$((20000 + $$ % 10000))
next_address() {
    port=$((port + 1))
    address=127.0.0.1:$port
}

if ! "$tool" bench collective --bytes 4K --fragment-bytes 4K --regions 1 --samples 1 \
    --link-bytes 64K >"$work/out" 2>"$work/err"; then
    cat "$work/err"
    grep -q 'built without groups' "$work/err" && exit 77
    [ -z "$on_fake" ] && grep -q 'there is no GPU' "$work/err" && exit 77
    exit 1
fi

# One rank: a plain onboard.
collective 0 --json -
read_json
has context.gpu STRING
has context.ranks NUMBER '1$'
has rows.0.mode STRING 'striped$'
has rows.0.ranks NUMBER '1$'
has rows.0.block_bytes NUMBER '16384$'
has rows.0.blocks NUMBER '38$'
has rows.0.bytes NUMBER '622592$'
has rows.0.host_bytes NUMBER '622592$'
has rows.0.verified BOOLEAN ON
has rows.0.busbw_gbps NULL
has rows.0.p99_us NULL
has rows.1.mode STRING 'broadcast$'
for name in median_us wait_us run_us algbw_gbps link_gbps links_gbps fraction_of_links; do
    has "rows.0.$name" NUMBER
done
if [ -n "$on_fake" ]; then
    has context.imitated BOOLEAN ON
    has rows.0.imitated BOOLEAN ON
fi
collective 0 --ranks 1 --device 0 --no-verify --json -
read_json
has rows.0.verified NULL
[ "$failures" -eq 0 ] || exit 1

# Several ranks need several GPUs.
if [ -z "$on_fake" ]; then
    "$ranks" 2 "$kvferry" bench collective --bytes 4K --fragment-bytes 4K --regions 1 --samples 1 \
        --link-bytes 64K >"$work/out" 2>"$work/err" || {
        cat "$work/err"
        grep -q 'ranks 0 and 1 have the same GPU' "$work/err" || exit 1
        echo 'there is one GPU, so only a group of one was tested'
        exit 0
    }
fi

# Each rank reads its share, or rank 0 all: of 38 blocks two ranks have 19 each.
group 0 --json -
read_json
has context.ranks NUMBER '2$'
has context.nccl STRING
has context.links_gbps.1 NUMBER
has rows.0.mode STRING 'striped$'
has rows.0.host_bytes NUMBER '311296$'
has rows.0.host_bytes_all NUMBER '622592$'
has rows.0.wire_memory STRING '\(plain\|nccl\|window\)$'
has rows.0.busbw_gbps NUMBER
has rows.0.verified BOOLEAN ON
has rows.1.mode STRING 'broadcast$'
has rows.1.host_bytes NUMBER '622592$'
has rows.1.host_bytes_all NUMBER '622592$'
has rows.1.verified BOOLEAN ON
[ "$(value rows.0.wire_bytes)" -ge 622592 ] || complain "fewer bytes crossed the wire than there are"
group 0
says out 'as nccl-tests define it'
says out 'fraction_of_links ='

# Several shapes, and chunks that do not divide the blocks.
group 0 --fragment-bytes 1000,4K --regions 1,3 --mode striped --json "$work/json"
cp "$work/json" "$work/out"
read_json
[ "$(grep -c '^rows\.[0-9]*\.verified BOOLEAN ON$' "$work/values")" -eq 4 ] ||
    complain "not 4 verified rows"
group 0 --chunk-bytes 48K --chunks 2 --pattern run:4 --json -
read_json
has rows.0.chunks NUMBER '7$'
group 0 --min-ctas 1 --max-ctas 4 --cta-policy 1 --no-verify

# Ranks by options, with GPUs in another order, or by the environment of torchrun, mpirun and srun.
next_address
begin 1 --rank 1 --ranks 2 --address "$address" --device 0 --json "$work/not_mine"
collective 0 --rank 0 --ranks 2 --address "$address" --device 1
ended 1 0
[ ! -e "$work/not_mine" ] || complain "a rank other than 0 wrote a file"
[ ! -s "$work/out.1" ] || complain "a rank other than 0 printed something"
next_address
export MASTER_ADDR=127.0.0.1 MASTER_PORT="$port"
export SLURM_LOCALID=0 # set by the surrounding shell, not for these ranks
launched 'RANK WORLD_SIZE UNUSED'
unset SLURM_LOCALID MASTER_ADDR MASTER_PORT
next_address
launched 'OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_RANK' --address "$address"
next_address
launched 'SLURM_PROCID SLURM_NTASKS SLURM_LOCALID' --address "$address"
export RANK=0 WORLD_SIZE=8
collective 0 --ranks 1 # overrides the environment
unset RANK WORLD_SIZE

# Bad usage.
collective 2 --ranks 0
collective 2 --mode nonsense
says err "'nonsense'"
collective 2 --mode striped,striped,striped
collective 2 --pattern nonsense
collective 2 --min-ctas 4 --max-ctas 2
collective 2 --rank 0
says err "--rank needs --ranks"
collective 2 --rank 2 --ranks 2 --address "$address"
says err "there is no rank 2 of 2"
collective 2 --rank 0 --ranks 2
says err "--address"
collective 2 --rank 0 --ranks 2 --address nonsense
says err "nonsense: "
collective 2 --ranks 2
for launcher in bench/ranks mpirun srun torchrun; do
    says err "$launcher"
done
collective 2 --address "$address"
says err "--address needs --rank"
collective 2 --device 100
says err "there is no GPU 100"
group 2 --device 0
says err "ranks 0 and 1 have the same GPU"
start=$(date +%s)
group 2 --json "$work/no/such/file"
says err "$work/no/such/file"
[ $(($(date +%s) - start)) -lt 20 ] || complain "bad usage of one rank kept the others waiting"
group 2 --costs "$work/nothing"
collective 2 nonsense
export RANK=x WORLD_SIZE=2
collective 2
says err "RANK='x'"
unset RANK WORLD_SIZE

# Ranks that are missing, disagree, die or stop.
next_address
collective 1 --rank 0 --ranks 2 --address "$address" --timeout-us 300000
says err "rank 0: connecting the ranks"
next_address
begin 1 --rank 1 --ranks 2 --address "$address" --device 1 --samples 3
collective 2 --rank 0 --ranks 2 --address "$address" --device 0
says err "rank 1 was given other options"
ended 1 2
next_address
begin 1 --rank 1 --ranks 2 --address "$address" --device 1 --samples 1000000 --timeout-us 2000000
begin 0 --rank 0 --ranks 2 --address "$address" --device 0 --samples 1000000 --timeout-us 2000000
sleep 2
kill -9 "$process_1"
ended 1 137
ended 0 1
grep -q '^kvferry: rank 0: ' "$work/err.0" || complain "rank 0 does not report its failure"
next_address
begin 1 --rank 1 --ranks 2 --address "$address" --device 1 --samples 1000000 --timeout-us 1000000
begin 0 --rank 0 --ranks 2 --address "$address" --device 0 --samples 1000000 --timeout-us 1000000
sleep 2
kill -STOP "$process_1"
ended 0 1
grep -q '^kvferry: rank 0: ' "$work/err.0" || complain "rank 0 does not report the stopped rank"
kill -KILL "$process_1"
ended 1 137

# A fault on one rank fails all ranks.
if [ -n "$on_fake" ]; then
    for gpu in 0 1; do
        export KVFERRY_FAKE=flip-on-$gpu
        group 1 --json -
        says err "rank $gpu: "
        says err "did not arrive"
        read_json
        has rows.0.verified BOOLEAN OFF
    done
    for machine in no-device no-driver; do
        export KVFERRY_FAKE=$machine
        group 1
        says err "there is no GPU"
        collective 1
        says err "there is no GPU"
    done
    # A failing call either leads to a message or does not matter.
    for n in 1 2 5 13 89 377 800 1100 1200 1300 1400 1500 1700 1900 2100 2300; do
        code=0
        # shellcheck disable=SC2086
        KVFERRY_FAKE=fail-$n ASAN_OPTIONS=detect_leaks=0 "$ranks" 2 "$kvferry" bench collective \
            $small --timeout-us 1000000 >"$work/out" 2>"$work/err" || code=$?
        case $code in
        0) ;;
        1) says err "kvferry: " ;;
        *) complain "with call $n failing: exit code $code, $(cat "$work/err")" ;;
        esac
    done
    unset KVFERRY_FAKE
fi
[ "$failures" -eq 0 ]

#!/bin/sh
# example.sh EXAMPLE [OPTION...]: the example runtime, with these options of an engine.
#
# Sequences of a seed have the same text with every engine, number of threads and sizes. Without threads
# of the host engine, the whole last line is repeatable.
set -eu
tool=$1
shift
engine=$*
. "$(dirname -- "$0")/../support/tool_support.sh"

# count WORD: prints the number before WORD in the last line.
count() {
    sed -n "s/.*[^0-9]\([0-9][0-9]*\) $1.*/\1/p" "$work/out"
}

text() {
    sed -n 's/.*texts \([0-9a-f]*\).*/\1/p' "$work/out"
}

# sum_up: adds the last run's counts to variables sum_NAME.
for name in preempted offloaded onboarded shared cancelled; do
    eval "sum_$name=0"
done
sum_up() {
    for name in preempted offloaded onboarded shared cancelled; do
        eval "sum_$name=\$((sum_$name + $(count $name)))"
    done
}

if ! "$tool" "$@" --sequences 1 >"$work/out" 2>"$work/err"; then
    cat "$work/err"
    grep -q cudaGetDeviceCount "$work/err" && exit 77
    exit 1
fi

# same OPTION...: the engine makes the same text as the host engine without threads.
same() {
    expect 0 --engine host --no-threads "$@"
    expected=$(text)
    expect 0 $engine "$@"
    sum_up
    [ "$(text)" = "$expected" ] || complain "$engine $*: another text"
}

seed=1
last=${KVF_TEST_SEEDS:-1}
while [ "$seed" -le "$last" ]; do
    same --seed "$seed" --sequences 40
    same --seed "$seed" --max-transfers 2 --hang-ups 10 --sequences 40
    same --seed "$seed" --device-blocks 20 --live 40 --sequences 40
    same --seed "$seed" --host-blocks 30 --live 30 --lanes 8 --sequences 40
    same --seed "$seed" --layers 9 --lanes 16 --token-bytes 520 --sequences 8
    same --seed "$seed" --layers 1 --token-bytes 8 --block-tokens 1 --device-blocks 200 \
        --host-blocks 600 --sequences 20
    same --seed "$seed" --offload-mbps 5 --max-transfers 40 --hang-ups 8 --slice 4 --sequences 40
    seed=$((seed + 1))
done
for name in preempted offloaded onboarded shared; do
    eval "[ \$sum_$name -gt 0 ]" || complain "nothing was $name"
done

# A wrong byte is found, by attention ...
expect 1 $engine --rot 20 --sequences 40
grep -q '^mismatch: sequence' "$work/err" || complain "no mismatch with corrupt blocks"
case $engine in
*cuda*)
    # Blocks of failed transfers are computed again. Only the fake runtime has faults and slow copies.
    failed=0
    for n in 1 2 3 4 5 6; do
        KVFERRY_FAKE=cudaMemcpy2DAsync:$n
        export KVFERRY_FAKE
        same --sequences 10
        failed=$((failed + $(count failed)))
    done
    KVFERRY_FAKE=slow
    same --sequences 10 --hang-ups 5
    unset KVFERRY_FAKE
    case $tool in
    *cuda_example) [ "$failed" -gt 0 ] || complain "no fault has made a transfer fail" ;;
    esac
    ;;
*)
    # ... or by the tier, before attention sees it: such blocks are computed again.
    same --rot 20 --integrity --sequences 40
    [ "$(count failed)" -gt 0 ] || complain "integrity has found no corrupt block"
    [ "$sum_cancelled" -gt 0 ] || complain "nothing was cancelled"
    ;;
esac
case $engine in
--no-threads)
    expect 0 $engine --seed 7
    mv "$work/out" "$work/first"
    expect 0 $engine --seed 7
    cmp -s "$work/out" "$work/first" || complain "two runs of one seed differ"
    ;;
esac

# Stopping early, and bad usage.
expect 0 $engine --steps 500
expect 0 $engine --seconds 1 --sequences 1000000 --offload-mbps 5
expect 2 --sequences 0
expect 2 --sequences many
expect 2 --token-bytes 12
expect 2 --device-blocks 10
expect 2 --engine nonsense
expect 0 --help
[ "$failures" -eq 0 ]

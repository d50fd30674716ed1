#!/bin/sh
# cuda_real_runtime.sh FOLDER PROGRAM...: starts test programs with the real CUDA runtime in FOLDER. On a
# machine without a GPU each must be skipped with a reason, except those that need no GPU and pass.
set -u
folder=$1
shift
log=${TMPDIR:-/tmp}/kvferry-real-runtime.$$
failed=0 skipped=0
trap 'rm -f "$log"' EXIT
for program; do
    code=0
    KVF_TEST_RUNTIME=real CUDA_VISIBLE_DEVICES='' LD_LIBRARY_PATH=$folder timeout -k 2 30 "$program" >"$log" 2>&1 </dev/null ||
        code=$?
    case $code:${program##*/} in
    0:cuda_move_profile | 0:cuda_costs | 0:cuda_example) ;;
    77:*)
        skipped=$((skipped + 1))
        grep -q 'skipped: this needs' "$log" && continue
        echo "$(basename "$program") is skipped without a reason"
        failed=1
        ;;
    *)
        echo "$(basename "$program") ends with $code"
        cat "$log"
        failed=1
        ;;
    esac
done
echo "$skipped of $# skipped"
[ "$skipped" -gt 0 ] && [ "$failed" -eq 0 ]

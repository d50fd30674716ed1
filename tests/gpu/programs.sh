#!/bin/sh
# programs.sh SECONDS JOBS FILE PROGRAM...: runs test programs, each for at most SECONDS, and writes a
# line for each to FILE. Fails if one fails; exits 77 if all are skipped.
set -u
seconds=$1 jobs=$2 file=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'cat "$work"/*; exit 143' TERM # output of programs that were cut off

# In the foreground, so that a signal that ends this script ends the programs, too.
# shellcheck disable=SC2016 # for the inner shell
printf '%s\0' "$@" | xargs -0 -n 1 -P "$jobs" sh -c '
    name=${4##*/} output=$1/${4##*/} code=0
    timeout --foreground -k 2 "$2" "$4" >"$output" 2>&1 </dev/null || code=$?
    case $code in
    0) word=passed ;;
    77) word="skipped ($(tail -n 1 "$output"))" ;;
    124 | 137) word="CUT at $2 s" ;;
    *) word="FAILED ($code)" ;;
    esac
    echo "== $name" | cat - "$output"
    rm "$output"
    echo "$name: $word" >>"$3"' sh "$work" "$seconds" "$file"

if grep -qE '^[^ ]*: (CUT|FAILED)' "$file"; then
    exit 1
fi
grep -q ': passed$' "$file" || {
    echo "all programs were skipped"
    exit 77
}

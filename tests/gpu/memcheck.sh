#!/bin/sh
# memcheck.sh PROGRAM: runs a test program with few seeds under compute-sanitizer's memcheck, the only
# one of its tools that applies to kernels without shared memory and barriers.
set -u
checker=$(command -v compute-sanitizer ||
    find /usr/local/cuda* /opt/nvidia -name compute-sanitizer -type f -perm -1 2>/dev/null | head -n 1)
if [ -z "$checker" ]; then
    echo "no compute-sanitizer"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    code=0
    KVF_TEST_SEEDS="${KVF_TEST_SEEDS:-0.1}" "$checker" --tool memcheck --error-exitcode 86 "$1" \
        2>&1 || code=$?
    echo "$code" >"$work/code"
} | tee "$work/output"
# For example under gVisor.
if grep -q 'Device not supported' "$work/output"; then
    echo "compute-sanitizer does not support this machine"
    exit 77
fi
exit "$(cat "$work/code")"

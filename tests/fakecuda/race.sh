#!/bin/sh
# race.sh PROGRAM: the fake lets ThreadSanitizer find every mistake of race.c, and nothing without.
set -u
program=$1
failed=0

# attempt MISTAKE: the report, if any, is in $report.
attempt() {
    report=$(TSAN_OPTIONS="exitcode=66 halt_on_error=0" "$program" "$1" 2>&1)
    status=$?
}

for i in 1 2 3 4 5; do
    attempt none
    if [ "$status" -ne 0 ]; then
        echo "$report"
        echo "right code is reported (exit code $status)"
        exit 1
    fi
done
for mistake in source-reused no-wait read-early wrong-stream kernel-no-wait any-early \
    legacy-non-blocking failure-unseen; do
    for i in 1 2 3; do
        attempt "$mistake"
        case $status:$report in
        66:*"data race"*) ;;
        *)
            echo "$mistake is not found (exit code $status)"
            failed=1
            ;;
        esac
    done
done
attempt query
if [ "$status" -ne 0 ]; then
    echo "$report"
    echo "a successful query is no order"
    failed=1
fi
exit "$failed"

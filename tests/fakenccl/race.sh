#!/bin/sh
# race.sh PROGRAM: the fakes let ThreadSanitizer find every mistake of race.c, and nothing without.
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
for mistake in send-too-early source-reused used-too-early read-early gather-too-early \
    shared-communicator; do
    for i in 1 2 3; do
        attempt "$mistake"
        case $status:$report in
        66:*"data race"*) ;;
        *)
            echo "$report"
            echo "$mistake is not found (exit code $status)"
            failed=1
            ;;
        esac
    done
done
exit "$failed"

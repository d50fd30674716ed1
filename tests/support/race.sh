#!/bin/sh
# race.sh PROGRAM RIGHT... -- MISTAKE...: runs a program on one of the fakes with each argument.
# ThreadSanitizer must report every mistake, and nothing for what is right.
set -u
program=$1
shift
right=yes
failed=0

# attempt WHAT TIMES
attempt() {
    for i in $(seq "$2"); do
        report=$(TSAN_OPTIONS="exitcode=66 halt_on_error=0" "$program" "$1" 2>&1)
        status=$?
        case $right:$status:$report in
        yes:0:* | no:66:*"data race"*) ;;
        *)
            echo "$report"
            [ "$right" = yes ] && echo "$1 is reported, but is right (exit code $status)" ||
                echo "$1 is not found (exit code $status)"
            failed=1
            return
            ;;
        esac
    done
}

for what; do
    case $right:$what in
    *:--) right=no ;;
    yes:*) attempt "$what" 5 ;;
    *) attempt "$what" 3 ;;
    esac
done
exit "$failed"

#!/bin/sh
# Sourced by tests of a program, after they set `tool`: functions that run it and check its output.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(dirname -- "$0")
failures=0

complain() {
    echo "$*"
    failures=$((failures + 1))
}

# expect CODE ARGUMENTS...: runs the tool and leaves its output in the files out and err.
expect() {
    code=$1
    shift
    status=0
    # A tool that exits with a message frees nothing and leaves its threads running.
    leaks=1
    [ "$code" -eq 0 ] || leaks=0
    ASAN_OPTIONS=detect_leaks=$leaks TSAN_OPTIONS="${TSAN_OPTIONS-} report_thread_leaks=$leaks" \
        "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    [ "$status" -eq "$code" ] && return
    complain "${tool##*/} $*: exit code $status, not $code"
    cat "$work/out" "$work/err"
}

# says FILE TEXT: out or err contains it.
says() {
    grep -qF -e "$2" "$work/$1" || complain "standard $1 does not say: $2"
}

# needs_python: skips a test that reads JSON when python3 is missing.
needs_python() {
    command -v python3 >/dev/null && return
    echo "skipped: there is no python3, which reads what the tool writes"
    exit 77
}

# Reads standard output as JSON; writes each value as a line of the file values.
read_json() {
    python3 "$here/../support/json_values.py" "$work/out" >"$work/values" 2>&1 || {
        complain "not JSON:"
        cat "$work/values"
    }
}

# value PATH: a value of the JSON read last; nothing for null or a missing key.
value() {
    sed -n "s/^$1 [A-Z]* //p" "$work/values"
}

# has PATH TYPE [VALUE]
has() {
    grep -q "^$1 $2 ${3-}" "$work/values" || complain "the JSON has no $1 of type $2 ${3-}"
}

# has_numbers PREFIX NAME...: expects numbers, or null for what was not measured.
has_numbers() {
    prefix=$1
    shift
    for name; do
        grep -qE "^$prefix$name (NUMBER|NULL) " "$work/values" || complain "no number $prefix$name"
    done
}

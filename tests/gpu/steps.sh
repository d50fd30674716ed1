# shellcheck shell=sh disable=SC2154 # variables of .ci/gpu and lease.sh
# Sourced by lease.sh: steps with time limits. Each saves its output and results at once, so that they
# survive if a later step, or the machine, is cut off.

now() {
    date +%s
}

# A machine may return only 8 files of 16 MiB each, so all other results are packed into one file.
begin() {
    for name in $only; do
        case " $all_steps " in
        *" $name "*) ;;
        *) bad_usage "unknown step '$name'" ;;
        esac
    done
    chmod -R u+x "$folder/bin" "$folder/tests" 2>/dev/null || true # copying may have dropped the mode
    [ -x "$folder/bin/kvferry" ] || bad_usage "$folder was not made by 'pack'"
    folder=$(CDPATH='' cd -- "$folder" && pwd)
    mkdir -p "$out"
    out=$(CDPATH='' cd -- "$out" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    log=$out/log.txt details=$work/details results=$work/results
    mkdir "$results" "$work/cache"
    for name in log summary facts predictions; do
        rm -f "$out/$name.txt"
    done
    rm -f "$out/costs.json" "$out/costs-warm.json" "$out/results.tgz"
    export XDG_CACHE_HOME="$work/cache" # no cost tables of other machines
    : >"$log"
    started=$(now) bad=0
}

# at_most SECONDS: limited by the time of a step and the time left. A dry run gets more: other tests slow it.
at_most() {
    left=$((seconds - ($(now) - started)))
    most=$1
    [ -z "$dry" ] || most=180
    [ "$most" -le "$step_seconds" ] || most=$step_seconds
    [ "$most" -le "$left" ] || most=$left
    echo "$most"
}

# tell LINE: prints to standard output, the log and the summary.
tell() {
    echo "$1" | tee -a "$log" "$out/summary.txt"
}

# Keeps the log's end, where a step prints why it failed.
trim_log() {
    if [ "$(wc -c <"$log")" -gt 12000000 ]; then
        tail -c 6000000 "$log" >"$work/log"
        { echo '(earlier output is left out)' && cat "$work/log"; } >"$log"
    fi
}

# judge CODE TOOK MOST: sets $word to the step's outcome.
judge() {
    case $1 in
    0) word=passed ;;
    77) word="skipped ($(tail -n 1 "$log"))" ;;
    *) word="FAILED ($1)" ;;
    esac
    case $1 in
    124 | 137) [ "$2" -lt "$3" ] || word="CUT at $3 s" ;;
    esac
    case $word in
    FAILED* | CUT*)
        bad=$((bad + 1))
        tail -c "+$log_from" "$log" | tail -n 25
        ;;
    esac
}

# step NAME SECONDS COMMAND...: runs a step, unless --only leaves it out. Its output goes to the log at
# once; what it writes to $details is shown with the result. Sets $word to the outcome.
step() {
    name=$1 most=$(at_most "$2") word=passed
    shift 2
    case " ${only:-$name} " in
    *" $name "*) ;;
    *) return 0 ;;
    esac
    if [ "$most" -lt 3 ]; then
        word='left out (no time)'
        bad=$((bad + 1))
        tell "$name: $word"
        return 0
    fi
    code=0 began=$(now) log_from=$(($(wc -c <"$log") + 1))
    : >"$details"
    echo "-- $name: $*" >>"$log"
    timeout -k 2 "$most" "$@" >>"$log" 2>&1 </dev/null || code=$?
    took=$(($(now) - began))
    tail -c "+$log_from" "$log" | grep -a ' combinations left out' >>"$details" || true
    judge "$code" "$took" "$most"
    tell "$name: $word, $took s"
    while read -r line; do
        tell "    $line"
    done <"$details"
    trim_log
    tar -czf "$work/results.tgz" -C "$work" results
    mv "$work/results.tgz" "$out/results.tgz"
}

# skip NAME REASON
skip() {
    # shellcheck disable=SC2016 # for the inner shell
    step "$1" 5 sh -c 'echo "$0"; exit 77' "$2"
}

# Without smoke the other steps are pointless, and the machine's time is short.
stop_after_smoke() {
    tell "smoke failed, so nothing else was run; $(($(now) - started)) s"
    exit 3
}

finish() {
    if [ "$bad" -gt 0 ]; then
        tell "FAILED: $bad steps did not pass, $(($(now) - started)) s"
        exit 1
    fi
    tell "all steps passed or were skipped, $(($(now) - started)) s"
}

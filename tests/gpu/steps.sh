# shellcheck shell=sh disable=SC2154 # what .ci/gpu and lease.sh set
# Sourced by lease.sh: steps with limits, of which each leaves what it printed and measured even when a
# later one, or the machine, is cut off.

now() {
    date +%s
}

# What a device machine brings back is 8 files of 16 MiB each: everything but these is packed into one.
begin() {
    for name in $only; do
        case " $all_steps " in
        *" $name "*) ;;
        *) bad_usage "no step is called '$name'" ;;
        esac
    done
    chmod -R u+x "$folder/bin" "$folder/tests" 2>/dev/null || true # what carried it may drop that
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
    export XDG_CACHE_HOME="$work/cache" # models of other machines are not used
    : >"$log"
    started=$(now) bad=0
}

# at_most SECONDS: no more than a step may take, or than is left. A dry run is slowed by other tests.
at_most() {
    left=$((seconds - ($(now) - started)))
    most=$1
    [ -z "$dry" ] || most=180
    [ "$most" -le "$step_seconds" ] || most=$step_seconds
    [ "$most" -le "$left" ] || most=$left
    echo "$most"
}

# tell LINE: on standard output, in the log and in the summary.
tell() {
    echo "$1" | tee -a "$log" "$out/summary.txt"
}

# Its end is where a step says why it failed.
trim_log() {
    if [ "$(wc -c <"$log")" -gt 12000000 ]; then
        tail -c 6000000 "$log" >"$work/log"
        { echo '(what came before is left out)' && cat "$work/log"; } >"$log"
    fi
}

# judge CODE TOOK MOST: what became of the step, in $word.
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

# step NAME SECONDS COMMAND...: unless others were asked for. What it prints goes to the log as it
# comes; what it writes to $details is shown with the result. $word says what became of it.
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

# Everything else would be of no use, and the machine's time is short.
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

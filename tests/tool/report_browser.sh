#!/bin/sh
# report_browser.sh TOOL RESULTS...: pages of `kvferry report` as a browser shows them.
set -eu
tool=$1
shift
. "$(dirname -- "$0")/../support/tool_support.sh"
browser=
for name in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || ! command -v $name >/dev/null || browser=$name
done
if [ -z "$browser" ] || ! command -v python3 >/dev/null; then
    echo "skipped: there is no chromium, or no python3"
    exit 77
fi
# Like the sanitizers, the browser reserves more address space than it uses.
ulimit -v unlimited 2>/dev/null || true

# browse PAGE ARGUMENTS...: opens the page, and writes its document to the file dom.
browse() {
    opened=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
        --enable-logging=stderr --dump-dom --window-size=1400,900 "$@" "file://$opened" \
        >"$work/dom" 2>"$work/log" ||
        complain "the browser failed on $opened: $(tail -n 3 "$work/log")"
    if grep CONSOLE "$work/log"; then
        complain "the browser complains about $opened"
    fi
}

# probe ARGUMENTS...: inspects the page with a script, without the policy that forbids other scripts.
probe() {
    {
        grep -v 'http-equiv="Content-Security-Policy"' "$work/page.html"
        echo '<script>'
        cat "$here/report_probe.js"
        echo '</script>'
    } >"$work/probe.html"
    browse "$work/probe.html" "$@"
    sed -n '/<pre id="probe">/,/<\/pre>/p' "$work/dom" | sed '1d;$d' >"$work/said"
    colours=$(head -n 1 "$work/said")
    if [ -z "$colours" ] || [ "$(wc -l <"$work/said")" -ne 1 ]; then
        complain "the page of $files:"
        head -n 20 "$work/said"
    fi
}

# opens NAME...: makes and probes the page of these results.
opens() {
    files=
    for name; do
        [ -e "$work/$name.json" ] || python3 "$here/report_results.py" $name >"$work/$name.json"
        files="$files $work/$name.json"
    done
    expect 0 report $files -o "$work/page.html"
    probe
}

# in_dom COUNT TEXT: the document contains TEXT this often.
in_dom() {
    count=$(grep -oF -e "$2" "$work/dom" | wc -l)
    [ "$count" -eq "$1" ] || complain "'$2' occurs $count times in $files, not $1"
}

# figures TITLE...: exactly these figures are drawn.
figures() {
    for title; do
        in_dom 1 ">$title</h3>"
    done
    in_dom $# '<figure>'
}

for file; do
    cp "$file" "$work/"
    opens "$(basename "$file" .json)"
    in_dom 0 '>IMITATED'
done

# The map: 36 cells with the winner and auto's choice. These rows have no spread: no whiskers.
opens strategies
figures 'Strategy map' 'Bandwidth by fragment size' Latency
in_dom 36 '<td class="cell '
for winner in loop kernel staged; do
    grep -q ">$winner<b>" "$work/dom" || complain "$winner never wins"
done
in_dom 1 '>◥ auto chose another<'
in_dom 0 'class="whisker'
in_dom 0 '>IMITATED'
light=$colours
probe --blink-settings=preferredColorScheme=0
[ "$colours" != "$light" ] || complain "dark is as light: $light"

# The policy allows the page's own script and style.
browse "$work/page.html"
figures 'Strategy map' 'Bandwidth by fragment size' Latency
in_dom 16 '<svg width='

# A lead within the noise, whiskers, predictions, and a comparison with another run.
opens total
figures 'Strategy map' 'Bandwidth by fragment size' 'Prediction error' \
    'Compared with &lt;before&gt;.json'
in_dom 62 'class="whisker'
grep -q '</b>+[0-9]* % ?</td>' "$work/dom" || complain "a lead within the noise is not marked"
in_dom 1 '<td class="word">&lt;now&gt;</td><td class="word">&lt;then&gt;</td>'

# A single sample has no whiskers, and fewer than 100 have no p99.
opens latency
figures 'Bandwidth by total size' Latency 'Prediction error'
in_dom 6 'class="whisker'
in_dom 1 '>first layer<'

# The host engine has no strategies.
expect 0 bench transfer --bytes 64K --fragment-bytes 1K,4K --pattern contiguous,random --samples 1 \
    --json "$work/host.json"
opens host
figures 'Bandwidth by fragment size'

# A single row is shown as large numbers instead of charts.
opens single
figures
in_dom 1 '<b>50</b>% of the link'

# Warnings appear on top, at the mark, in the legend and in the table. Two files of one command share
# figures, with a series per file, and have separate tables.
opens doubtful
for doubt in NOISY CORRUPT IMITATED 'Not verified'; do
    in_dom 1 "<p class=\"warning\">$doubt: "
    in_dom 1 "<td class=\"word flag\">$doubt</td>"
done
in_dom 1 '>IMITATED IN PART</p>'
in_dom 2 '<g class="mark c2 corrupt" transform'
in_dom 2 '<g class="mark c2 noisy" transform'
cp "$work/doubtful.json" "$work/before.json"
opens doubtful before
in_dom 1 '<section>'
figures 'Strategy map' 'Bandwidth by fragment size' Latency
grep -q '>batch, before.json</li>' "$work/dom" || complain "there is no series per file"
in_dom 2 '<summary>All values of 6 rows of '

opens replay plan pinned collective calibrate unknown
figures 'Miss ratio by tier size' 'Where the blocks came from' 'Traffic between the tiers' \
    'Speed between the tiers' 'Bookkeeping, nanoseconds per block' 'Pinning host memory, seconds per GiB' \
    'Onboarding the same blocks to all GPUs of a group' 'Predicted strategy map' 'Predicted bandwidth'
in_dom 2 'class="whisker'

# Text from files stays text, and values of unexpected types break nothing.
for command in 'bench transfer' 'bench plan' 'bench pinned' 'bench collective' replay calibrate; do
    python3 "$here/report_results.py" hostile "$command" >"$work/hostile.json"
    python3 "$here/report_results.py" odd "$command" >"$work/odd.json"
    opens hostile
    in_dom 2 '<script'
    in_dom 0 '<img'
    opens hostile odd
    in_dom 0 '>A figure could not be drawn'
done
opens panels
[ "$failures" -eq 0 ]

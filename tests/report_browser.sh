#!/bin/sh
# report_browser.sh TOOL RESULTS...: what a browser makes of pages, on a phone and on a desk.
set -eu
tool=$1
shift
. "$(dirname -- "$0")/tool_support.sh"
browser=
for name in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || ! command -v $name >/dev/null || browser=$name
done
if [ -z "$browser" ] || ! command -v python3 >/dev/null; then
    echo "skipped: there is no chromium, or no python3"
    exit 77
fi
# As the sanitizers do, the browser takes more than it uses.
ulimit -v unlimited 2>/dev/null || true

# browse PAGE ARGUMENTS...: its document goes to the file dom, what it logs to the file log.
browse() {
    opened=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
        --enable-logging=stderr --dump-dom "$@" "file://$opened" >"$work/dom" 2>"$work/log" ||
        complain "the browser failed on $opened: $(tail -n 3 "$work/log")"
    if grep CONSOLE "$work/log"; then
        complain "the browser complains about $opened"
    fi
}

# opens NAME...: a page of these results, as a browser draws it, with all of their values.
opens() {
    files=
    for name; do
        [ -e "$work/$name.json" ] || python3 "$here/report_results.py" $name >"$work/$name.json"
        files="$files $work/$name.json"
    done
    expect 0 report $files -o "$work/page.html"
    browse "$work/page.html"
    python3 "$here/report_check.py" dom "$work/dom" $files >"$work/found" 2>&1 || {
        complain "the page of $*:"
        cat "$work/found"
    }
}

# in_dom COUNT TEXT: how often it comes.
in_dom() {
    count=$(grep -oF -e "$2" "$work/dom" | wc -l)
    [ "$count" -eq "$1" ] || complain "'$2' comes $count times in $files, not $1"
}

# figures TITLE...: these, and no others.
figures() {
    for title; do
        in_dom 1 "<h3>$title<a "
    done
    in_dom $# '<figure '
}

# probe WIDTH ARGUMENTS...: looks at the page of that width; what is wrong becomes complaints. The
# page allows only its own script, and so the one that looks takes the place of that rule. It stands
# in a frame, since windows may have a least width that is more than a phone's.
probe() {
    width=$1
    shift
    {
        grep -v 'http-equiv="Content-Security-Policy"' "$work/page.html"
        printf '<script>\nconst WIDTH = %s;\n' "$width"
        cat "$here/report_probe.js"
        printf '</script>\n'
    } >"$work/probe.html"
    cat >"$work/frame.html" <<END
<!DOCTYPE html>
<title>frame</title>
<pre id="said">
</pre>
<script>addEventListener("message", (said) => {
  document.getElementById("said").textContent = "\n" + said.data + "\n";
});</script>
<iframe src="probe.html" style="width:${width}px;height:800px;border:0"></iframe>
END
    browse "$work/frame.html" --window-size=1400,900 --virtual-time-budget=20000 "$@"
    sed -n '/<pre id="said">/,/<\/pre>/p' "$work/dom" | sed '1d;$d' >"$work/said"
    if grep -qvE '^[1-9][0-9]* charts$|^rgb|^$' "$work/said" ||
        ! grep -q '^[1-9].* charts$' "$work/said"; then
        complain "$files, $width wide:"
        cat "$work/said"
    fi
}

# looks: at the page that was opened last, at both widths and in both colour schemes.
looks() {
    for width in 390 1280; do
        probe $width
        light=$(tail -n 1 "$work/said")
        probe $width --blink-settings=preferredColorScheme=0
        [ "$(tail -n 1 "$work/said")" != "$light" ] || complain "dark is as light: $light"
    done
}

for file; do
    cp "$file" "$work/"
    opens "$(basename "$file" .json)"
    in_dom 0 '>IMITATED'
done

# The map: 36 cells, with who wins there and what auto took. Nothing was measured of whiskers.
opens strategies
figures 'Strategy map' 'Bandwidth by fragment size' Latency
in_dom 36 '<td class="cell '
for winner in loop kernel staged; do
    grep -q ">$winner<b>" "$work/dom" || complain "$winner never wins"
done
grep -q 'class="corner-sign"' "$work/dom" || complain "the map does not tell what auto took"
in_dom 0 'class="whisker'
in_dom 0 '>IMITATED'

# A lead that is none, whiskers, predictions, and another run compared.
opens total
figures 'Strategy map' 'Bandwidth by fragment size' 'Prediction error' \
    'Compared with &lt;before&gt;.json'
in_dom 62 'class="whisker'
grep -q '</b>+[0-9]* % ?</td>' "$work/dom" || complain "a lead within the noise is not marked"
in_dom 1 '<td class="word">&lt;now&gt;</td><td class="word">&lt;then&gt;</td>'

# Of one sample there is no range to draw, nor a p99 of fewer than 100.
opens latency
figures 'Bandwidth by total size' Latency 'Prediction error'
in_dom 6 'class="whisker'
in_dom 1 '>the first layer<'

# A host engine has no strategies to choose from.
expect 0 bench transfer --bytes 64K --fragment-bytes 1K,4K --pattern contiguous,random --samples 1 \
    --json "$work/host.json"
opens host
figures 'Bandwidth by fragment size'

# One row has its figures large, in place of charts.
opens single
figures
in_dom 1 '<b>50.00</b><span>% of the link</span>'

# Doubts are seen: each on top, at its mark, in the legends and in the table.
opens doubtful
for doubt in NOISY CORRUPT IMITATED 'Not verified'; do
    in_dom 1 "<strong>$doubt</strong>"
    in_dom 1 "<td class=\"word flag\">$doubt</td>"
done
in_dom 1 '>IMITATED IN PART</p>'
in_dom 2 '<g class="mark c2 corrupt" transform'
in_dom 2 '<g class="mark c2 noisy" transform'

# Two files of one command are one figure, with a series for each, and tables of their own.
cp "$work/doubtful.json" "$work/before.json"
opens doubtful before
in_dom 1 '<section '
figures 'Strategy map' 'Bandwidth by fragment size' Latency
grep -q '>batch, before.json</li>' "$work/dom" || complain "a file is no series"
in_dom 2 '<summary>All values of 6 rows of '

# Replays of several tiers show what a larger one saves.
opens replay
figures 'Miss ratio by tier size' 'Where the blocks came from' 'Traffic between the tiers'

opens plan pinned collective calibrate unknown
figures 'Bookkeeping, nanoseconds a block' 'Pinning host memory, seconds a GiB' \
    'The same blocks to all GPUs of a group' 'Strategy map, as expected' 'What the model expects'
in_dom 2 'class="whisker'

# Text from files stays text, and values of any type break nothing.
python3 "$here/report_results.py" hostile 'bench transfer' >"$work/hostile.json"
opens hostile
figures 'Bandwidth by fragment size'
in_dom 2 '<script'
in_dom 0 '<img'
looks
python3 "$here/report_results.py" hostile >"$work/hostile.json"
for command in 'bench transfer' 'bench plan' 'bench pinned' 'bench collective' replay calibrate; do
    python3 "$here/report_results.py" odd_rows "$command" >"$work/odd_$(echo $command | tr ' ' _).json"
done
opens hostile odd odd_bench_transfer odd_bench_plan odd_bench_pinned odd_bench_collective \
    odd_replay odd_calibrate
in_dom 0 '>A figure could not be drawn'
looks
opens strategies total latency doubtful replay plan pinned collective calibrate unknown
looks
opens panels
looks
[ "$failures" -eq 0 ]

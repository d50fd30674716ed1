#!/bin/sh
# report_browser.sh TOOL RESULTS...: how a browser lays the pages out, on a phone and on a desk.
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

# browse PAGE ARGUMENTS...: its document goes to the file dom, what it logs to the file log.
browse() {
    opened=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
        --enable-logging=stderr --dump-dom "$@" "file://$opened" >"$work/dom" 2>"$work/log" ||
        complain "the browser failed on $opened: $(tail -n 3 "$work/log")"
}

# probe WIDTH ARGUMENTS...: looks at the page of that width; what is wrong becomes complaints. The
# page allows no scripts, and so the one that looks takes the place of that rule. It stands in a
# frame, since windows may have a least width that is more than a phone's.
probe() {
    width=$1
    shift
    {
        grep -v 'http-equiv="Content-Security-Policy"' "$work/page.html" |
            grep -v '^</html>$'
        printf '<script>\nconst WIDTH = %s;\n' "$width"
        cat "$here/report_probe.js"
        printf '</script>\n</html>\n'
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
    browse "$work/frame.html" --window-size=1400,900 "$@"
    sed -n '/<pre id="said">/,/<\/pre>/p' "$work/dom" | sed '1d;$d' >"$work/said"
    grep -vE '^[0-9]+ charts$|^rgb' "$work/said" >"$work/wrong" || true
    if [ -s "$work/wrong" ] || ! grep -q ' charts$' "$work/said"; then
        complain "$subject at $width:"
        cat "$work/said"
    fi
}

# looks SUBJECT FILE...: a page of the files, on a phone and on a desk.
looks() {
    subject=$1
    shift
    expect 0 report "$@" -o "$work/page.html"
    grep -q 'Content-Security-Policy' "$work/page.html" || complain "the page allows scripts"
    browse "$work/page.html"
    if grep -q CONSOLE "$work/log"; then
        complain "$subject: the browser complains:"
        grep CONSOLE "$work/log"
    fi
    probe 360
    probe 1280
}

# As the sanitizers do, the browser takes more than it uses.
ulimit -v unlimited 2>/dev/null || true
looks "the results" "$@"
for name in strategies total doubtful replay pinned collective calibrate plan; do
    python3 "$here/report_results.py" $name >"$work/$name.json"
    set -- "$@" "$work/$name.json"
done
looks "every kind" "$@"
grep -q '^[1-9][0-9]* charts$' "$work/said" || complain "there are no charts"
light=$(tail -n 1 "$work/said")
probe 360 --blink-settings=preferredColorScheme=0
[ "$(tail -n 1 "$work/said")" != "$light" ] || complain "dark is as light: $light"
python3 "$here/report_results.py" hostile 'bench transfer' >"$work/hostile.json"
python3 "$here/report_results.py" odd >"$work/odd.json"
looks "text that would be markup" "$work/hostile.json"
looks "odd values" "$work/odd.json"
[ "$failures" -eq 0 ]

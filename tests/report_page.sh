#!/bin/sh
# report_page.sh TOOL RESULTS...: pages that `report` makes of those files and of made-up ones.
set -eu
tool=$1
shift
. "$(dirname -- "$0")/tool_support.sh"
needs_python
page=$work/page.html

# make NAME [ARGUMENT]: made-up results in a file of that name.
make() {
    python3 "$here/report_results.py" "$@" >"$work/$1.json"
}

# shows FILE...: a page of them is what it claims to be.
shows() {
    expect 0 report "$@" -o "$page"
    python3 "$here/report_check.py" "$page" "$@" >"$work/found" 2>&1 || {
        complain "the page of $*:"
        cat "$work/found"
    }
}

# in_page COUNT TEXT: lines of the page that contain it.
in_page() {
    count=$(grep -cF -e "$2" "$page") || true
    [ "$count" -eq "$1" ] || complain "$count lines with '$2', not $1"
}

for file; do
    shows "$file"
    in_page 0 IMITATED
done
[ $# -lt 2 ] || shows "$@"

# Every kind of results, from the tool itself where that takes no GPU.
expect 0 bench transfer --bytes 64K --fragment-bytes 1K,4K --count 16,32 --samples 2 --no-verify \
    --json "$work/transfer.json"
expect 0 bench plan --blocks 64 --samples 2 --json "$work/bench_plan.json"
expect 0 replay --synthetic --requests 20 --imitate-gbps 100 --json "$work/imitated.json"
shows "$work/transfer.json" "$work/bench_plan.json" "$work/imitated.json"
in_page 1 'IMITATED IN PART'
in_page 1 '<h3>Bandwidth by fragment size'
in_page 1 '<h3>Bookkeeping, nanoseconds a block'
in_page 1 '<h3>Where the blocks came from'
in_page 0 'Strategy map'
grep -q 'Not verified' "$page" || complain "what was not verified is not marked"
for name in strategies total doubtful hostile odd plan replay pinned collective calibrate unknown panels; do
    make $name
    shows "$work/$name.json"
done
for command in 'bench transfer' 'bench plan' 'bench pinned' 'bench collective' replay calibrate; do
    make odd_rows "$command"
    shows "$work/odd_rows.json"
done

# The map: 36 cells of two panels, with who wins there and what auto took.
shows "$work/strategies.json"
in_page 1 '<h3>Strategy map</h3>'
in_page 36 '<g class="cell s'
for winner in loop kernel staged; do
    grep -q "<text class=\"mid small\"[^>]*>$winner</text>" "$page" || complain "$winner never wins"
done
in_page 0 '<path class="whisker'
grep -q '<path class="corner"' "$page" || complain "the map does not tell what auto took"
in_page 0 'IMITATED'

# Whiskers, a lead that is none, and another run beside it.
shows "$work/total.json"
in_page 30 '<path class="whisker'
grep -q '>+[0-9]* % ?</text>' "$page" || complain "a lead within the noise is not marked"
in_page 1 '<h3>Beside &lt;before&gt;.json</h3>'
in_page 1 '<td>&lt;now&gt;, &lt;then&gt;</td>'

# Doubts are seen: each at its mark, and in the legend.
shows "$work/doubtful.json"
for doubt in NOISY CORRUPT IMITATED 'Not verified'; do
    grep -q "<strong>$doubt.</strong>" "$page" || complain "no warning: $doubt"
done
in_page 2 '<path class="corrupt" d="M-8-8'
in_page 2 '<circle class="noisy"'

# Text from files stays text, in charts as well.
make hostile 'bench transfer'
shows "$work/hostile.json"
in_page 1 '<h3>Bandwidth by fragment size'
in_page 1 '<h3>Strategy map'
in_page 0 '<script'
in_page 0 '<img'

# As a filter, and to standard output.
"$tool" report - -o - <"$work/plan.json" >"$page"
in_page 1 'standard input'
in_page 1 '</html>'
"$tool" report "$work/plan.json" -o /dev/stdout | cat >"$page"
in_page 1 '</html>'

# What cannot be read is refused, and what was there stays.
echo before >"$page"
chmod 640 "$page"
refuses() {
    says=$1
    shift
    expect 2 report "$@" -o "$page"
    says err "$says"
    in_page 1 before
}
bad() {
    printf '%s' "$2" >"$work/bad.json"
    refuses "$1" "$work/plan.json" "$work/bad.json"
}
bad 'not JSON' '{'
bad 'schema_version' '{"rows": []}'
make many
refuses 'too many rows' "$work/many.json"
head -c 40000000 /dev/zero | tr '\0' ' ' >"$work/large.json"
refuses 'File too large' "$work/large.json"
refuses 'cannot be read' "$work/nothing.json"
refuses 'cannot be read' "$work"
expect 2 report
expect 2 report "$work/plan.json"
expect 2 report -o "$page"
expect 2 report "$work/plan.json" -o "$work/no/such/folder"
says err 'cannot be written'
cp "$work/plan.json" "$work/same.json"
expect 2 report "$work/same.json" -o "$work/same.json"
cmp -s "$work/plan.json" "$work/same.json" || complain "results were overwritten"

# A file is replaced, with its mode, and behind a link; nothing else is left.
mkdir "$work/pages"
echo before >"$work/pages/page.html"
chmod 640 "$work/pages/page.html"
ln -s pages/page.html "$work/link.html"
expect 0 report "$work/plan.json" -o "$work/link.html"
[ -L "$work/link.html" ] || complain "a link was replaced"
[ "$(ls "$work/pages")" = page.html ] || complain "something was left behind"
[ "$(stat -c %a "$work/pages/page.html")" = 640 ] || complain "the page's mode changed"
grep -q '</html>' "$work/pages/page.html" || complain "the page was not replaced"
[ "$failures" -eq 0 ]

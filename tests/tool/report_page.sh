#!/bin/sh
# report_page.sh TOOL RESULTS...: pages that `kvferry report` makes of these files and of made-up ones.
# report_browser.sh opens them in a browser.
set -eu
tool=$1
shift
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python
page=$work/page.html

# make NAME [ARGUMENT]: writes made-up results to a file of that name.
make() {
    python3 "$here/report_results.py" "$@" >"$work/$1.json"
}

# shows FILE...: their page contains them, and allows only its own script.
shows() {
    expect 0 report "$@" -o "$page"
    python3 "$here/report_check.py" "$page" "$@" >"$work/found" 2>&1 || {
        complain "the page of $*:"
        cat "$work/found"
    }
}

# in_page COUNT TEXT: this many lines of the page contain TEXT.
in_page() {
    count=$(grep -cF -e "$2" "$page") || true
    [ "$count" -eq "$1" ] || complain "$count lines with '$2', not $1"
}

# Strings that would end the script or open a comment, and numbers that no axis can show.
make plan
make hostile 'bench transfer'
make odd
shows "$@" "$work/plan.json" "$work/hostile.json" "$work/odd.json"
in_page 1 '<noscript>'
not_utf8=$work/$(printf 'a\377<b>').json
cp "$work/plan.json" "$not_utf8"
shows "$not_utf8"

# From standard input, and to standard output.
"$tool" report - -o - <"$work/plan.json" >"$page"
in_page 1 'standard input'
in_page 1 '</html>'
"$tool" report "$work/plan.json" -o /dev/stdout | cat >"$page"
in_page 1 '</html>'

# Unreadable results are refused, and an existing page stays.
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

# A page is replaced with its mode kept, also through a symbolic link. No other file is left.
mkdir "$work/pages"
echo before >"$work/pages/page.html"
chmod 640 "$work/pages/page.html"
ln -s pages/page.html "$work/link.html"
expect 0 report "$work/plan.json" -o "$work/link.html"
[ -L "$work/link.html" ] || complain "a link was replaced"
[ "$(ls "$work/pages")" = page.html ] || complain "another file was left"
[ "$(stat -c %a "$work/pages/page.html")" = 640 ] || complain "the page's mode changed"
grep -q '</html>' "$work/pages/page.html" || complain "the page was not replaced"
[ "$failures" -eq 0 ]

#!/bin/sh
# manual.sh TOOL SOURCES: each command has a manual page that contains its --help. The pages name all
# environment variables that the tool reads, are reproducible, and pass mandoc's lint.
set -eu
tool=$1
sources=$2
. "$(dirname -- "$0")/../support/tool_support.sh"

# words FILE BEFORE AFTER: each word once, in lower case, since headings differ; and the option of each
# entry, "--json=FILE", between BEFORE and AFTER on its line.
words() {
    { tr '[:upper:]' '[:lower:]' <"$1" | grep -o '[a-z0-9_-]*' &&
        sed -n "s/^$2\(-., \)*\(--[^ ]*\)$3\$/entry \2/p" "$1"; } | LC_ALL=C sort -u
}

unset SOURCE_DATE_EPOCH
export ASAN_OPTIONS=detect_leaks=0 # a tool that ends with a message frees nothing
sh "$sources/manual.sh" "$tool" 2026-01-31 "$work/pages"
if [ ! -e "$work/pages" ]; then
    echo "skipped: the tool does not run here, or there is no help2man"
    exit 77
fi
# They do not depend on time, time zone or locale.
TZ=Pacific/Apia LC_ALL=de_DE.UTF-8 sh "$sources/manual.sh" "$tool" 2026-01-31 "$work/again"
diff -r "$work/pages" "$work/again" || complain "the pages are not reproducible"
gunzip "$work"/pages/*.gz

sed -n 's/^int \(.*\)_main(int.*/-\1/p' "$sources/base/command.h" >"$work/commands"
[ "$(wc -l <"$work/commands")" -eq "$(grep -c _main "$sources/base/command.h")" ] ||
    complain "command.h has commands of another form"
for suffix in "" $(tr _ - <"$work/commands"); do
    page=$work/pages/kvferry$suffix.1
    if [ ! -e "$page" ]; then
        complain "there is no ${page##*/}"
        continue
    fi
    # The page as plain text.
    sed -e 's/\\f[BIPRCW(]*//g; s/\\[,/]//g; s/\\-/-/g' -e "s/\\\\(../ /g" "$page" >"$work/text"
    # shellcheck disable=SC2046 # a command may be two words
    ARGP_HELP_FMT=no-dup-args-note "$tool" $(echo "$suffix" | tr - ' ') --help >"$work/help" 2>&1 ||
        [ $? -eq 2 ] # not in this build, as the page says
    words "$work/help" ' \{2,6\}' '.*' >"$work/said"
    words "$work/text" '' '' | comm -23 "$work/said" - | grep -vx usage >"$work/lost" || true
    [ ! -s "$work/lost" ] || complain "${page##*/} lacks: $(tr '\n' ' ' <"$work/lost")"
done
[ "$(find "$work/pages" -type f | wc -l)" -eq $(($(wc -l <"$work/commands") + 1)) ] ||
    complain "there are pages without a command"
set -- "$sources/engines/cost_cache.c"
! "$tool" bench collective --help >"$work/help" 2>&1 || set -- "$@" "$sources/collective/ranks.c"
for name in $(grep -ho '"[A-Z][A-Z_]*[A-Z]"' "$@" | tr -d '"'); do
    cat "$work"/pages/*.1 | grep -qw -e "$name" || complain "no page names $name"
done

SOURCE_DATE_EPOCH=86400 sh "$sources/manual.sh" "$tool" 2026-01-31 "$work/dated"
gzip -dc "$work/dated/kvferry.1.gz" | grep -q '^\.TH KVFERRY "1" 1970-01-02 ' ||
    complain "SOURCE_DATE_EPOCH does not set the date"

lint=77
if command -v mandoc >/dev/null; then
    lint=0
    mandoc -Tlint -W warning "$work"/pages/*.1 || complain "mandoc complains"
fi
[ "$failures" -eq 0 ] || exit 1
[ "$lint" -eq 0 ] || echo "contents passed, lint skipped: there is no mandoc"
exit "$lint"

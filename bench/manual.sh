#!/bin/sh
# manual.sh TOOL DATE FOLDER: makes manual pages from the help texts with help2man: kvferry.1.gz and
# one for each command. DATE (2026-01-31) is the release's; SOURCE_DATE_EPOCH overrides it.
set -eu
tool=$1 date=$2 folder=$3
rm -rf "$folder"
if ! version=$("$tool" --version) || ! command -v help2man >/dev/null; then
    echo "no manual pages: they need help2man and a kvferry that runs on this machine" >&2
    exit 0
fi
mkdir -p "$folder"
[ -z "${SOURCE_DATE_EPOCH-}" ] || date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)
# One line per paragraph, and options apart from their texts.
export LC_ALL=C ARGP_HELP_FMT=rmargin=32000,opt-doc-col=40,no-dup-args-note

# help COMMAND: its --help, or why this build lacks the command.
help() {
    # shellcheck disable=SC2086 # a command may be two words
    "$tool" ${1#kvferry} --help 2>&1 || [ $? -eq 2 ]
}

# page COMMAND SUMMARY SEE: for help2man, *Heading* starts a section, "Heading:" at the margin a
# subsection, and "  $ " an example. The text after the options belongs to the description.
page() {
    page=$folder/$(echo "$1" | tr ' ' -).1
    { help "$1" && printf '\n*See also*\n%s\n' "$3"; } |
        sed -e "1s/$1/kvferry/" -e '1s/^kvferry: t/T/' -e '1,/^ /s/^ /*Options*\n&/' -e '/^Examples:$/,/^$/s/^ /&$/' \
            -e 's/^\([A-Z][a-z ]*\):$/*\1*/' -e 's/\(^\|\n\) \([A-Z].*:\)$/\1\2/' \
            -e '/^  -V, --version /a*Description*' |
        help2man --help-option=- --no-info --name="$2" --output="$page" \
            --version-string="$(basename "$page" .1) (kvferry) ${version#kvferry }" cat
    # Dates and characters that all readers of pages accept, and lines that can be copied.
    sed -i -e "2s/\"[A-Z][a-z]* [0-9]*\"/$date/" -e '2a.nh\n.ad l' -e "s/^\.B kvferry\$/.B $1/" \
        -e "s/'/\\\\(aq/g; s/\`/\\\\(ga/g; s/\\^/\\\\(ha/g; s/~/\\\\(ti/g" \
        -e '/^\\f(CW/s/-/\\-/g' -e '/^\.SS/s/:"$/"/' "$page"
    gzip -9n "$page"
}

commands=$(help kvferry | sed -n '/^Commands:/,/^$/s/^  \([a-z ]*[a-z]\)   *\(.*\)/\1:\2/p')
page kvferry "$(help kvferry | sed -n '2s/\(.*\)\.$/\l\1/p')" \
    "$(echo "$commands" | sed 's/:.*/(1)/; s/ /-/; s/^/kvferry-/; $!s/$/,/')"
echo "$commands" | while IFS=: read -r command summary; do
    page "kvferry $command" "$summary" "kvferry(1)"
done

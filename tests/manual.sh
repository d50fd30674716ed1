#!/bin/sh
# manual.sh TOOL SOURCES: the manual page has every command, every option of each, and what the tool
# asks the environment; it is the same whenever it is made, and mandoc has nothing to say against it.
set -eu
tool=$1
sources=$2
. "$(dirname -- "$0")/tool_support.sh"

# The words of standard input, each once.
words() {
    grep -o '[A-Za-z0-9_][A-Za-z0-9_-]*' | LC_ALL=C sort -u
}

make_page() {
    sh "$sources/manual.sh" "$tool" 2026-01-31 "$1"
}

unset SOURCE_DATE_EPOCH
export ASAN_OPTIONS=detect_leaks=0 # a tool that ends with a message frees nothing
make_page "$work/kvferry.1"
if [ ! -e "$work/kvferry.1" ]; then
    echo "skipped: the tool does not run here"
    exit 77
fi

# As it is read, one line a paragraph, without what roff needs.
sed -e 's/\\f[BIR]//g' -e 's/\\-/-/g' -e "s/\\\\(aq/'/g" -e 's/\\(../ /g' "$work/kvferry.1" >"$work/text"

# has TEXT [SECTION]: a line of the page, or of one of its sections, has that word.
has() {
    sed -n "/^\.SH ${2-.*}\$/,/^\.SH /p" "$work/text" | grep -qw -e "$1" ||
        complain "the page lacks $1${2:+ in $2}"
}

# has_option OPTION SECTION: an entry of its own.
has_option() {
    sed -n "/^\.SH $2\$/,/^\.SH /p" "$work/text" | grep -q -e "^\(-., \)*$1\([=[]\|\$\)" ||
        complain "the page lacks $1 in $2"
}

# What the program knows as a command is named by its menus, and has a section.
grep -o '{"[a-z]*", [a-z_]*_main}' "$sources/main.c" |
    sed -e 's/{"\(.*\)", \(.*\)_main}/\2 \1/' -e '/^bench bench$/d' >"$work/commands" # but for the menu
[ "$(wc -l <"$work/commands")" -eq "$(grep -c '_main(int argc, char \*\*argv);$' "$sources/command.h")" ] ||
    complain "main.c has other commands than command.h"
while read -r function word; do
    command=$word
    case $function in *"_$word") command="${function%_"$word"} $word" ;; esac
    section=$(echo "$command" | tr '[:lower:]' '[:upper:]')
    has "kvferry $command" SYNOPSIS
    has "$command" DESCRIPTION
    # shellcheck disable=SC2086 # a command may be two words
    if ! ARGP_HELP_FMT=no-dup-args-note "$tool" $command --help >"$work/help" 2>"$work/why"; then
        grep -qF "$(sed -e 's/^kvferry: //' -e q "$work/why" | cut -c1-60)" "$work/text" ||
            complain "the page does not say why there is no $command"
        continue
    fi
    sed -n 's/^ *\(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' "$work/help" >"$work/options"
    [ "$(wc -l <"$work/options")" -gt 3 ] || complain "$command has no options"
    while read -r option; do
        case $option in
        --help | --usage | --version) has_option "$option" OPTIONS ;;
        *) has_option "$option" "$section" ;;
        esac
    done <"$work/options"
    # Nothing that it says is lost: words in the order of the alphabet.
    sed 's/^Usage://' "$work/help" | words >"$work/said"
    sed -n -e "/^\.SH $section\$/,/^\.SH /p" -e '/^\.SH SYNOPSIS$/,/^\.SH /p' \
        -e '/^\.SH OPTIONS$/,/^\.SH /p' "$work/text" | words >"$work/written"
    comm -23 "$work/said" "$work/written" >"$work/lost"
    [ ! -s "$work/lost" ] || complain "$command: lost: $(tr '\n' ' ' <"$work/lost")"
done <"$work/commands"

for name in $(grep -ho '"[A-Z][A-Z_]*_[A-Z_]*[A-Z]"' "$sources/ranks.c" "$sources/model.c" | tr -d '"') \
    HOME RANK; do
    has "$name" ENVIRONMENT
done
for code in 0 1 2; do
    has ".B $code" 'EXIT STATUS'
done

# Neither clock nor place nor language is in it.
TZ=Pacific/Apia LC_ALL=de_DE.UTF-8 make_page "$work/again"
cmp "$work/kvferry.1" "$work/again" || complain "made twice, it differs"
gzip -dc "$work/again.gz" | cmp - "$work/kvferry.1" || complain "compressed, it differs"
SOURCE_DATE_EPOCH=86400 make_page "$work/dated"
grep -q '^\.TH KVFERRY 1 1970-01-02 ' "$work/dated" || complain "SOURCE_DATE_EPOCH is not its date"

if ! command -v mandoc >/dev/null; then
    [ "$failures" -gt 0 ] || echo "skipped but for its contents: there is no mandoc"
    [ "$failures" -gt 0 ] || exit 77
else
    mandoc -Tlint -W warning "$work/kvferry.1" || complain "mandoc complains"
fi
[ "$failures" -eq 0 ]

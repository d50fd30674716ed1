#!/bin/sh
# manual.sh TOOL DATE PAGE: writes the manual page, and PAGE.gz, made of what --help of the tool and of
# each of its commands says. DATE (2026-01-31) is that of the version; SOURCE_DATE_EPOCH comes before
# it. Where the tool does not run, for lack of a library, there is no page.
set -eu
tool=$1
date=$2
out=$3
rm -f "$out" "$out.gz"
if ! version=$("$tool" --version); then
    echo "kvferry does not run here: there is no manual page" >&2
    exit 0
fi
if [ -n "${SOURCE_DATE_EPOCH-}" ]; then
    date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)
fi
export LC_ALL=C
# A paragraph a line, options and texts far apart, and nothing that argp says by itself.
export ARGP_HELP_FMT=rmargin=32000,opt-doc-col=64,no-dup-args-note

# help COMMAND: what --help says, or why this tool does not have it.
help() {
    # shellcheck disable=SC2086 # a command may be two words
    "$tool" $1 --help 2>&1 || [ $? -eq 2 ]
}

# The commands of a menu, in its order.
commands() {
    help "$1" | awk '/^Commands:$/ { inside = 1; next }
        inside && !/^  / { exit }
        inside && !/^   / { sub(/^  /, ""); sub(/   *.*/, ""); print }'
}

# page COMMAND PART: of its help, for the whole tool with COMMAND empty,
#     name, usage, text, commands, options, rest, status or examples.
page() {
    help "$1" | awk -v command="$1" -v part="$2" '
# As roff: nothing of it is an instruction, and options are bold.
function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/\047/, "\\(aq", text)
    gsub(/`/, "\\(ga", text)
    gsub(/\^/, "\\(ha", text)
    gsub(/~/, "\\(ti", text)
    sub(/^\./, "\\\\\\&.", text)
    return text
}
function prose(text) {
    text = roff(text)
    gsub(/\\-\\-[a-z][a-z0-9]*(\\-[a-z0-9]+)*/, "\\fB&\\fR", text)
    gsub(/\$[A-Z_]+/, "\\fI&\\fR", text)
    return text
}
# "-V, --version" and "--json=FILE": names bold, values italic.
function option(text) {
    text = roff(text)
    gsub(/\\-[A-Za-z0-9?\\-]*/, "\\fB&\\fR", text)
    gsub(/=.*/, "\\fI&\\fR", text)
    sub(/\\fI=/, "=\\fI", text)
    return text
}
# "COMMAND [OPTION...] FILE": what is to be put in is italic.
function usage(text) {
    text = roff(text)
    gsub(/[A-Z][A-Z0-9_]*/, "\\fI&\\fR", text)
    return text
}
function paragraph() {
    print gap
    gap = ".PP"
}
function common(name) {
    return name ~ /--(help|usage|version)$/
}
# Lines that are indented stand as they are.
function as_it_is() {
    if (!kept)
        print ".PP\n.nf\n.RS"
    kept = 1
    sub(/^  /, "")
    print roff($0)
}
function flow() {
    if (kept)
        print ".RE\n.fi"
    kept = 0
}

BEGIN { gap = ".PP" }

NR == 1 && !/^Usage: / {
    if (part == "usage")
        print "\\fBkvferry " command "\\fR\n.br"
    if (part == "text") {
        sub(/^kvferry: /, "")
        print ".PP\nNot in this build:"
        print prose($0) "."
    }
    exit
}
/^(Usage:|  or: ) / && state == "" {
    sub(/^(Usage:|  or: ) kvferry */, "")
    if (command != "")
        $0 = substr($0, length(command) + 2)
    if (part == "usage")
        print "\\fBkvferry" (command != "" ? " " command : "") "\\fR " usage($0) "\n.br"
    next
}
state == "" { # the first lines say what it is for
    state = "text"
    if (part == "name") {
        sub(/\.$/, "")
        print "kvferry \\- " roff(tolower(substr($0, 1, 1)) substr($0, 2))
    } else if (part == "text") {
        print ".PP\n" prose($0)
    }
    next
}
/^Commands:$/ { state = "commands"; next }
/^Exit codes: / {
    state = "status"
    if (part == "status") {
        sub(/^Exit codes: /, "")
        sub(/\.$/, "")
        count = split($0, codes, /, /)
        for (i = 1; i <= count; i++) {
            split(codes[i], code, / /)
            print ".TP\n.B " code[1] "\n" prose(substr(codes[i], length(code[1]) + 2))
        }
    }
    next
}
/^Examples?:$/ { state = "examples"; next }
/^$/ {
    if (state != "text" && part == state)
        flow()
    if (state == "commands" || state == "status" || state == "examples")
        state = "rest"
    next
}
state == "text" && /^ [^ -].*:$/ || state == "options" && /^ [^ -].*:$/ {
    state = "options"
    heading = substr($0, 2)
    sub(/:$/, "", heading)
    next
}
/^ +-/ && (state == "text" || state == "options") {
    state = "options"
    name = $0
    sub(/^ +/, "", name)
    match(name, /   +/)
    doc = RSTART > 0 ? substr(name, RSTART + RLENGTH) : ""
    name = RSTART > 0 ? substr(name, 1, RSTART - 1) : name
    if (part != "options" || (command != "" && common(name)))
        next
    if (heading != "")
        print ".SS " roff(heading)
    heading = ""
    print ".TP\n" option(name) "\n" prose(doc)
    next
}
state == "options" && !/^ / { state = "rest" }
part == "commands" && state == "commands" {
    if (/^   /)
        doc = $0
    else {
        name = $0
        sub(/^  /, "", name)
        match(name, /   */)
        doc = RSTART > 0 ? substr(name, RSTART) : ""
        name = RSTART > 0 ? substr(name, 1, RSTART - 1) : name
        print ".TP\n.B " roff(name)
    }
    sub(/^ +/, "", doc)
    if (doc != "")
        print prose(doc)
    next
}
part == state && /^  / { as_it_is(); next }
part == state { flow(); paragraph(); print prose($0) }
END { flow() }
'
}

# section COMMAND: all there is of a command.
section() {
    echo ".SH $(echo "$1" | tr '[:lower:]' '[:upper:]')"
    page "$1" text
    options=$(page "$1" options)
    case $options in
    '') ;;
    .SS*) printf '%s\n' "$options" ;;
    *) printf '.SS Options\n%s\n' "$options" ;;
    esac
    rest=$(page "$1" rest)
    [ -z "$rest" ] || printf '.SS Notes\n%s\n' "$rest"
    examples=$(page "$1" examples)
    [ -z "$examples" ] || printf '.SS Examples\n%s\n' "$examples"
}

# Without what stands for nothing: empty lines, a paragraph that a heading begins or ends anyway.
tidy() {
    awk '/^$/ { next }
        /^\.S[HS] / { held = "" }
        held != "" { print held; held = "" }
        /^\.br$/ { held = $0; next }
        /^\.PP$/ && after_heading { next }
        { print; after_heading = /^\.S[HS] / }'
}

tidy >"$out.new" <<END
.\\" Made of the help texts of $version; see bench/manual.sh.
.TH KVFERRY 1 $date "$version" "User Commands"
.nh
.ad l
.SH NAME
$(page '' name)
.SH SYNOPSIS
$(page '' usage)
$(commands '' | while read -r command; do page "$command" usage; done)
.SH DESCRIPTION
$(page '' text)
$(page '' commands)
$(page '' rest)
.SH OPTIONS
All commands have these. A command's own are in its section below.
$(page '' options)
$(commands '' | while read -r command; do section "$command"; done)
.SH EXIT STATUS
$(page '' status)
.SH ENVIRONMENT
.TP
.BR XDG_CACHE_HOME ", " HOME
Say where the cache directory is, see
.BR FILES .
.TP
.BR RANK ", " WORLD_SIZE ", " LOCAL_RANK
.TQ
.BR OMPI_COMM_WORLD_RANK ", " OMPI_COMM_WORLD_SIZE ", " OMPI_COMM_WORLD_LOCAL_RANK
.TQ
.BR SLURM_PROCID ", " SLURM_NTASKS ", " SLURM_LOCALID
Say to
.B bench collective
which rank a process is, of how many, and which of those on its machine. The first set counts that has
a rank and their number, unless
.B \\-\\-rank
or
.B \\-\\-ranks
is given.
.TP
.BR MASTER_ADDR ", " MASTER_PORT
Say where rank 0 listens, both together, unless
.B \\-\\-address
is given.
.SH FILES
.TP
.I \$XDG_CACHE_HOME/kvferry/cuda\\-NAME.json
What transfers cost on the GPU of that name:
.B calibrate
writes it, and the other commands read it when they run on such a GPU. Without the variable the
directory is
.IR \\(ti/.cache/kvferry .
.SH EXAMPLES
$(page '' examples)
END
gzip -9n <"$out.new" >"$out.gz"
mv "$out.new" "$out"

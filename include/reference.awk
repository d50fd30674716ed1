# What Doxygen reads in the place of a public header: enums and structs that are made of a list are
# written out, each entry with its text, since a macro's expansion has no comments.
#
#     #define KVF_COLOUR_MAP(X) X(KVF_RED, "red") X(KVF_BLUE, "blue")
#
#     #define KVF_X(name, text) name,
#         KVF_COLOUR_MAP(KVF_X)                 KVF_RED, /**< red */
#     #undef KVF_X                              KVF_BLUE, /**< blue */
#
# An entry's text is its last argument, or that of the entry before where it is empty. Between name
# and text there may be a metric and its label, which are named behind the text. As many lines come
# out as went in before the first list that is written out.

# The next argument of an entry, taken from `rest`: quoted or plain.
function argument(value) {
    sub(/^[[:space:]\\,]+/, "", rest)
    if (match(rest, /^"([^"\\]|\\.)*"/))
        value = substr(rest, 2, RLENGTH - 2)
    else if (match(rest, /^[^,)]+/))
        value = substr(rest, 1, RLENGTH)
    rest = substr(rest, RSTART + RLENGTH)
    gsub(/\\"/, "\"", value)
    return value
}

# Keeps the entries of a list: names[map, i] and texts[map, i].
function keep(map, list, n, count, text, metric, all) {
    rest = list
    n = 0
    while (match(rest, /X\(/)) {
        rest = substr(rest, RSTART + RLENGTH)
        names[map, ++n] = argument()
        count = 0
        while (match(rest, /^[[:space:]\\]*,/))
            all[++count] = argument()
        if (all[count] != "")
            text = all[count]
        metric = count > 1 ? ": `" all[1] (all[2] != "" ? "{" all[2] "}" : "") "`" : ""
        texts[map, n] = text metric
    }
    entries[map] = n
}

defining != "" {
    body = body " " $0
    print
    if ($0 !~ /\\$/) {
        keep(defining, body)
        defining = ""
    }
    next
}

match($0, /^#define KVF_[A-Z_]*_MAP\(X\)/) {
    defining = substr($0, 9, RLENGTH - 11)
    body = substr($0, RLENGTH + 1)
    print
    if ($0 !~ /\\$/) {
        keep(defining, body)
        defining = ""
    }
    next
}

/^#define KVF_X\(/ {
    form = $0
    sub(/^[^)]*\)[[:space:]]*/, "", form)
    sub(/^#define KVF_X\([[:space:]]*/, "")
    parameter = $0
    sub(/[^a-z].*/, "", parameter)
    next
}

/^#undef KVF_X$/ {
    next
}

match($0, /^[[:space:]]*KVF_[A-Z_]*_MAP\(KVF_X\)$/) {
    map = $1
    sub(/\(.*/, "", map)
    for (i = 1; i <= entries[map]; i++) {
        line = form
        sub("(^| )" parameter, " " names[map, i], line)
        print line " /**< " texts[map, i] " */"
    }
    next
}

{
    print
}

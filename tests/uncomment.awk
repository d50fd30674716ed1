# Prints C or C++ without comments, blank lines and what stands at the end of lines. For headers, in
# which no string holds the beginning of a comment.
{
    line = $0
    code = ""
    while (line != "") {
        if (inside) {
            end = index(line, "*/")
            if (!end)
                break
            line = substr(line, end + 2)
            inside = 0
        } else {
            start = match(line, /\/[*\/]/)
            if (!start) {
                code = code line
                break
            }
            code = code substr(line, 1, start - 1)
            if (substr(line, start, 2) == "//")
                break
            line = substr(line, start + 2)
            inside = 1
        }
    }
    sub(/[ \t]+$/, "", code)
    if (code != "")
        print code
}

#!/bin/sh
# readmes.sh ROOT: every file that a README names by its path, in backticks or as a link, exists below
# its own folder, the root or include/. NAME and FILE stand for any name.
set -eu
cd "$1"
bad=0
for readme in README.md */README.md; do
    folder=$(dirname "$readme")
    links=$(grep -o '](\([^)#]*\)' "$readme" | sed 's/^](//' | grep -v '^[a-z]*:' || :)
    quoted=$(grep -o '`[^` ]*`' "$readme" | tr -d '`' | grep '^[a-z_./]*/[A-Za-z0-9_.-]*\.[a-z]*$' |
        grep -v 'NAME\|FILE' || :)
    for path in $links $quoted; do
        if [ ! -e "$folder/$path" ] && [ ! -e "$path" ] && [ ! -e "include/$path" ]; then
            echo "$readme names $path, which does not exist"
            bad=1
        fi
    done
done
exit "$bad"

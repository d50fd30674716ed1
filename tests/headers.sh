#!/bin/sh
# headers.sh INCLUDE CC: each public header compiles alone, and twice, as C11 and as C++17, without
# the extensions that the library itself is compiled with; those for C++ (.hpp) as C++17 and C++20,
# and they name all that the C headers declare.
set -eu
here=$(dirname "$0")
include=$1
cc=$2
warnings="-pedantic-errors -Wall -Wextra -Wconversion -Werror"
export LC_ALL=C

# compile LANGUAGE STANDARD COMPILER HEADER
compile() {
    # shellcheck disable=SC2086 # several options
    printf '#include <kvferry/%s>\n#include <kvferry/%s>\nint main(void);\n' "$4" "$4" |
        "$3" -x "$1" "-std=$2" $warnings -I "$include" -fsyntax-only - || {
        echo "kvferry/$4 does not compile as $2 with $3"
        exit 1
    }
}

# names FILE: what begins with kvf_ in its code.
names() {
    awk -f "$here/uncomment.awk" "$1" | grep -o '\<kvf_[a-z0-9_]*' | sort -u
}

for path in "$include"/kvferry/*.h; do
    compile c c11 "$cc" "$(basename "$path")"
done

# A wrapper may lag behind a header unnoticed, and so hide something.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for path in "$include"/kvferry/*.hpp; do
    names "$path"
done | sort -u >"$work/wrapped"
for path in "$include"/kvferry/*.h; do
    names "$path"
done | sort -u >"$work/declared"
[ -s "$work/wrapped" ] && [ -s "$work/declared" ]
comm -23 "$work/declared" "$work/wrapped" >"$work/left_out"
sed 's/$/: no header for C++ wraps it/' "$work/left_out"
[ ! -s "$work/left_out" ]

if ! command -v c++ >/dev/null; then
    echo "skipped: there is no C++ compiler"
    exit 77
fi
for path in "$include"/kvferry/*.h; do
    compile c++ c++17 c++ "$(basename "$path")"
done
clang=$(command -v clang++-14 || command -v clang++) || clang=
for path in "$include"/kvferry/*.hpp; do
    for compiler in c++ $clang; do
        compile c++ c++17 "$compiler" "$(basename "$path")"
        compile c++ c++20 "$compiler" "$(basename "$path")"
    done
done

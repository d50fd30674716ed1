#!/bin/sh
# headers.sh INCLUDE CC: each public header compiles when included alone, and twice, as C11 and C++17,
# without the extensions that the library is compiled with; .hpp headers as C++17 and C++20.
set -eu
include=$1
cc=$2
warnings="-pedantic-errors -Wall -Wextra -Wconversion -Werror"

# compile LANGUAGE STANDARD COMPILER HEADER
compile() {
    # shellcheck disable=SC2086 # several options
    printf '#include <kvferry/%s>\n#include <kvferry/%s>\nint main(void);\n' "$4" "$4" |
        "$3" -x "$1" "-std=$2" $warnings -I "$include" -fsyntax-only - || {
        echo "kvferry/$4 does not compile as $2 with $3"
        exit 1
    }
}

for path in "$include"/kvferry/*.h; do
    compile c c11 "$cc" "$(basename "$path")"
done

if ! command -v c++ >/dev/null; then
    echo "skipped: no C++ compiler"
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

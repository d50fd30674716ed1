#!/bin/sh
# allocations.sh LIBRARY...: only the default allocator calls malloc and its relatives; all other code
# uses the caller's allocator. Allocations inside the C library (sorting, files, names, threads) and
# inside jansson are not checked.
set -eu
export LC_ALL=C
bad=0
for library in "$@"; do
    nm -A -u "$library" >/dev/null
    found=$(nm -A -u "$library" | grep -v '[:/]allocator\.c\.o:' |
        grep -E ' U (malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|strn?dup|v?asprintf|getline|open_memstream)(@.*)?$' || true)
    [ -z "$found" ] && continue
    echo "$found"
    bad=1
done
exit "$bad"

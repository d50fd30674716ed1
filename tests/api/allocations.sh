#!/bin/sh
# allocations.sh LIBRARY...: nothing but the default allocator, in allocator.c, takes memory past
# the caller's. What the C library takes for its own work (sorting, files, names, threads) and jansson
# are not looked at.
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

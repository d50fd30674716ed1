#!/bin/sh
# install.sh: checks the files of cmake --install with DESTDIR, moved to a folder that no path names.
set -eu
. "$(dirname -- "$0")/support.sh"

rm -rf "$STAGE"
DESTDIR=$work quietly cmake --install "$BUILD" --prefix /opt/elsewhere
mkdir -p "$(dirname "$STAGE")"
mv "$work/opt/elsewhere" "$STAGE"
rmdir "$work/opt"
rm "$work/output.txt"
[ -z "$(ls "$work")" ] || fail "installed outside of the prefix: $(ls "$work")"

# The installation is relocatable, and no file contains the path of the build.
libraries=$(libraries_of "$STAGE")
for path in "$BUILD" "$SOURCE" /opt/elsewhere; do
    ! grep -rlF "$path/" "$libraries/cmake" "$libraries/pkgconfig" || fail "names $path"
done
for file in "$libraries"/libkvferry*.so "$STAGE"/bin/*; do
    [ -e "$file" ] || continue
    ! readelf -d "$file" | grep -E 'R(UN)?PATH' || fail "$file has a path in it"
done

# Each built module has its libraries in both versions; other modules have no header.
for module in "" cuda nccl; do
    case " $MODULES " in *" $module "*) built=yes ;; *) built=no ;; esac
    [ -n "$module" ] || built=yes
    name=libkvferry${module:+_$module}
    header=$STAGE/include/kvferry/${module:-kvferry}.h
    pc=$libraries/pkgconfig/kvferry${module:+-$module}.pc
    for file in "$header" "$pc" "$libraries/$name.a"; do
        has=no
        [ ! -e "$file" ] || has=yes
        [ $has = $built ] || fail "$file is there: $has, not $built"
    done
    [ -e "$libraries/$name.so" ] || continue
    [ "$(readlink "$libraries/$name.so")" = "$name.so.0" ] || fail "$name.so points elsewhere"
    readelf -d "$libraries/$name.so" | grep -q "SONAME.*\[$name.so.0\]" || fail "$name has no SONAME"
done
[ -z "$(find "$STAGE" -name '*kvf_*')" ] || fail "parts of the build were installed"
if can_run "$STAGE/bin/kvferry"; then
    quietly env LD_LIBRARY_PATH="$FAKES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$STAGE/bin/kvferry" --version
fi

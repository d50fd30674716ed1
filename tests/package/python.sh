#!/bin/sh
# python.sh: uses the installed shared library from Python, by ctypes.
set -eu
. "$(dirname -- "$0")/support.sh"
wants python3
python3 -B "$programs/use.py" "$(libraries_of "$STAGE")/libkvferry.so.0"

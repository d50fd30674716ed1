# Sourced by the other scripts of this folder. Their input is in environment variables:
#
#   BUILD     kvferry's build folder
#   SOURCE    kvferry's sources
#   STAGE     the installation that package_install makes for the tests after it
#   MODULES   the modules that were built, of cuda and nccl
#   FAKES     folders of the fake runtimes, in the form of LD_LIBRARY_PATH; may be empty
#   CC, CXX   compilers
export LC_ALL=C
programs=$SOURCE/tests/package
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    exit 1
}

# wants COMMAND...: skips the test when one of them is missing.
wants() {
    for command in "$@"; do
        command -v "$command" >/dev/null || {
            echo "skipped: $command is missing"
            exit 77
        }
    done
}

# libraries_of INSTALLATION: the folder of its libraries.
libraries_of() {
    dirname "$(find "$1" -name libkvferry.a)"
}

# quietly COMMAND...: shows the command's output only when it fails.
quietly() {
    "$@" >"$work/output.txt" 2>&1 || {
        cat "$work/output.txt"
        fail "failed: $*"
    }
}

# needs_shared PROGRAM yes|no: expects that it needs, or does not need, a shared library of ours.
needs_shared() {
    has=no
    ! readelf -d "$1" | grep -q 'NEEDED.*libkvferry' || has=yes
    [ "$has" = "$2" ] || fail "$1 needs a shared libkvferry: $has, expected $2"
}

# can_run PROGRAM: whether it exists and, if it needs a CUDA runtime, a fake one is available.
can_run() {
    [ -x "$1" ] || return 1
    ! readelf -d "$1" | grep -q 'NEEDED.*libcudart' || [ -n "$FAKES" ]
}

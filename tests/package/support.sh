# Sourced by the scripts beside it, which are told by environment variables:
#
#   BUILD     where kvferry was built
#   SOURCE    its sources
#   STAGE     where package_install leaves an installation for the tests behind it
#   MODULES   which of cuda and nccl were built
#   FAKES     folders of the fake runtimes, if there are any, as LD_LIBRARY_PATH has them
#   CC, CXX   compilers
export LC_ALL=C
programs=$SOURCE/tests/package
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    exit 1
}

# wants COMMAND...: without one of them the test is skipped.
wants() {
    for command in "$@"; do
        command -v "$command" >/dev/null || {
            echo "skipped: there is no $command"
            exit 77
        }
    done
}

# Where the libraries of the installation at $1 are.
libraries_of() {
    dirname "$(find "$1" -name libkvferry.a)"
}

# quietly COMMAND...: shows its output when it fails.
quietly() {
    "$@" >"$work/output.txt" 2>&1 || {
        cat "$work/output.txt"
        fail "failed: $*"
    }
}

# needs_shared PROGRAM yes|no: whether it wants a shared library of ours.
needs_shared() {
    has=no
    ! readelf -d "$1" | grep -q 'NEEDED.*libkvferry' || has=yes
    [ "$has" = "$2" ] || fail "$1 needs a shared libkvferry: $has, not $2"
}

# can_run PROGRAM: whether it is there, and so is the CUDA runtime, or a fake, if it wants one.
can_run() {
    [ -x "$1" ] || return 1
    ! readelf -d "$1" | grep -q 'NEEDED.*libcudart' || [ -n "$FAKES" ]
}

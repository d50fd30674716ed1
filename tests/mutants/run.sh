#!/bin/sh
# run.sh FOLDER [NAME...]: shows that the tests of the CUDA module bite.
#
# Every mutant breaks one rule of the engine, in a copy of the tree in FOLDER. One of the tests it
# names must fail then, or hang; "cuda_faults:loop" is the program cuda_faults with that argument.
# A mutant that survives, cannot be applied or does not compile is a failure, and so is a test that
# fails without any.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
mkdir -p "$1"
folder=$(CDPATH='' cd -- "$1" && pwd)
shift
tree=$folder/tree
programs=$folder/build/tests/cuda
limit=${KVF_MUTANT_SECONDS:-300} # a test may take; longer is a hang
log=$folder/log.txt

build() {
    # shellcheck disable=SC2086 # one word a target
    cmake --build "$folder/build" --parallel "$(nproc)" --target $targets >"$log" 2>&1
}

# run TEST: its exit code.
run() {
    program=${1%%:*}
    argument=
    [ "$program" = "$1" ] || argument=${1#*:}
    # shellcheck disable=SC2086 # none, or one word
    (ulimit -c 0 && exec timeout "$limit" "$programs/$program" $argument) >"$log" 2>&1
}

names_of() {
    sed -n 's/^tests: //p' "$1"
}

all_mutants() {
    if [ $# -gt 0 ]; then
        printf "$here/%s.mutant\n" "$@"
    else
        ls "$here"/*.mutant
    fi
}

# The tree is copied anew, but keeps the times of what has not changed, for what is built.
copy() {
    mkdir -p "$tree"
    (cd "$root" && find CMakeLists.txt README.md src include cuda tests bench -type f) >"$folder/files"
    (cd "$tree" && find . -type f | sed 's,^\./,,') | while read -r file; do
        grep -qxF -- "$file" "$folder/files" || rm -f "$tree/$file"
    done
    while read -r file; do
        cmp -s "$root/$file" "$tree/$file" && continue
        mkdir -p "$(dirname "$tree/$file")"
        cp "$root/$file" "$tree/$file"
    done <"$folder/files"
}

restore() {
    cp "$root/$1" "$tree/$1"
}

mutants=$(all_mutants "$@")
tests=$(for mutant in $mutants; do names_of "$mutant"; done | tr ' ' '\n' | sort -u)
targets=$(echo "$tests" | sed 's/:.*//' | sort -u | tr '\n' ' ')
copy
cmake -S "$tree" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DKVF_TOOL=OFF \
    -DKVF_SHARED="$root/../shared" >"$log" 2>&1 && build || {
    cat "$log"
    echo "mutants: the tree does not build as it is"
    exit 1
}
for test in $tests; do
    run "$test" || {
        cat "$log"
        echo "mutants: $test fails without a mutant"
        exit 1
    }
done

killed=0 wrong=0
for mutant in $mutants; do
    name=$(basename "$mutant" .mutant)
    file=$(sed -n 's/^file: //p' "$mutant")
    word=survives
    if ! cmake -DROOT="$tree" -DMUTANT="$mutant" -P "$here/apply.cmake" >"$log" 2>&1; then
        word="cannot be applied"
    elif ! build; then
        word="does not compile"
    else
        for test in $(names_of "$mutant"); do
            run "$test" || word="killed by $test"
            [ "$word" = survives ] || break
        done
    fi
    restore "$file"
    echo "$name: $word"
    case $word in
    killed*) killed=$((killed + 1)) ;;
    *)
        wrong=$((wrong + 1))
        [ "$word" = survives ] || cat "$log"
        ;;
    esac
done
echo "mutants: $killed killed, $wrong not"
[ "$wrong" -eq 0 ]

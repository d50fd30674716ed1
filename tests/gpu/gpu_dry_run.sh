#!/bin/sh
# gpu_dry_run.sh BUILD: runs .ci/gpu with the programs in that build folder, on the fake runtime.
set -eu
build=$1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
tool=$root/.ci/gpu
. "$root/tests/support/tool_support.sh"
unset OUT KVF_TEST_SEEDS KVFERRY_FAKE
packed=$work/packed
out=$work/results # of a lease

# lease CODE ARGUMENTS...: runs `lease --dry-run` and expects that exit code.
lease() {
    code=$1
    shift
    rm -rf "$out"
    expect "$code" lease --dry-run --out "$out" "$@"
}

# became STEP TEXT: the summary has this text for the step or program.
became() {
    grep -qF -e "$1: $2" "$out/summary.txt" || complain "$1 is not '$2':
$(cat "$out/summary.txt")"
}

# steps: prints the steps in the summary, in its order.
steps() {
    sed -n 's/^\([a-z-]*\): .*, [0-9]* s$/\1/p' "$out/summary.txt"
}

# ran STEP...: exactly these steps are in the summary, in this order.
ran() {
    [ "$(steps | xargs)" = "$*" ] ||
        complain "expected the steps $*:
$(cat "$out/summary.txt")"
}

expect 0 --help
cp "$work/out" "$work/help"
expect 2
expect 2 nonsense
expect 2 pack --only smoke
expect 2 pack "$packed" "$packed"
expect 2 pack --build "$work"
expect 2 lease --seconds soon
expect 2 lease --only
expect 2 lease "$work/nothing"
expect 0 pack --build "$build" "$packed"
says out "KiB of 65536"
[ "$(du -sk "$packed" | cut -f 1)" -le 40000 ] || complain "what was packed is too large"
lease 2 --only "smoke nonsense" "$packed"
says err "unknown step 'nonsense'"

# All steps. Those that were not run are named.
lease 0 "$packed"
no_nccl=
[ -e "$packed/fake/libnccl.so.2" ] || no_nccl='nccl collective'
steps >"$work/steps"
while read -r step; do
    case " torch-link memcheck $no_nccl " in
    *" $step "*) became "$step" skipped ;;
    *) became "$step" passed ;;
    esac
    grep -qE "^  ([a-z-]+, )?${step}[, ]" "$work/help" || complain "--help does not name $step"
done <"$work/steps"
[ "$(grep -c . "$work/steps")" -eq 26 ] || complain "expected 26 steps"
became cuda_moves passed
became cuda_transfer passed
[ "$(find "$out" -type f | wc -l)" -le 8 ] || complain "more than 8 files: $(ls "$out")"
[ -z "$(find "$out" -size +16M)" ] || complain "a file of more than 16 MiB"
for file in log summary facts predictions; do
    [ -s "$out/$file.txt" ] || complain "$file.txt is missing"
done
grep -q '^IMITATED' "$out/predictions.txt" || complain "predictions.txt does not say IMITATED"
[ "$(grep -cE '(met|MISSED)$' "$out/predictions.txt")" -ge 38 ] || complain "predictions are missing"
grep -q '"kind": "kvferry-cuda-costs"' "$out/costs.json" || complain "costs.json is not a cost table"
tar -tzf "$out/results.tgz" >"$work/names"
for name in smoke large small strategies totals replay pinned; do
    grep -q "^results/$name.json$" "$work/names" || complain "results.tgz has no $name.json"
done
grep -q '^waited h2d 4 KiB' "$out/predictions.txt" || complain "predictions.txt lacks the waiting times"
if grep -q 'left out' "$out/summary.txt"; then
    complain "not everything was measured:
$(cat "$out/summary.txt")"
fi
# A step that is cut off while it measures leaves an unreadable JSON file.
mkdir "$work/cut"
tar -xzf "$out/results.tgz" -C "$work/cut"
: >"$work/cut/results/calibrate.json"
python3 "$root/tests/gpu/predictions.py" "$work/cut/results" "$work/cut/table" >"$work/cut/out" ||
    complain "predictions.py fails: $(cat "$work/cut/out")"
grep -q "^link h2d" "$work/cut/table" || complain "predictions.py omits what was measured"

# Some steps, in the usual order.
lease 0 --only "large smoke" "$packed"
ran smoke large

# If smoke fails nothing else runs; without enough time a step does not start.
cp -R "$packed" "$work/broken"
printf '#!/bin/sh\nexit 9\n' >"$work/broken/bin/kvferry"
lease 3 "$work/broken"
ran facts smoke
became smoke "FAILED (9)"
lease 1 --only "large waited" --seconds 2 "$packed"
became waited "left out"

# A step that hangs is cut off and the others go on; so is a program within a step.
cat >"$work/broken/bin/kvferry" <<END
#!/bin/sh
case "\$*" in *--poll*) exec sleep 100 ;; esac
exec "$packed/bin/kvferry" "\$@"
END
rm "$work/broken/tests"/cuda_*
for program in 'hangs:sleep 100' 'fails:exit 3' 'skips:echo why; exit 77' 'passes:exit 0'; do
    printf '#!/bin/sh\n%s\n' "${program#*:}" >"$work/broken/tests/cuda_${program%%:*}"
    chmod +x "$work/broken/tests/cuda_${program%%:*}"
done
lease 1 --only "smoke large waited tests-short" --step-seconds 12 "$work/broken"
ran smoke large tests-short waited
became large "CUT at 12 s"
became waited passed
became tests-short "FAILED (1)"
became cuda_hangs "CUT at"
became cuda_fails "FAILED (3)"
became cuda_skips "skipped (why)"
became cuda_passes passed
rm "$work/broken/tests"/cuda_[fhp]*
lease 0 --only tests-short "$work/broken"
became tests-short "skipped (all programs were skipped)"
[ "$failures" -eq 0 ]

"""run.py FOLDER [NAME...]: checks that the tests detect mutants of the CUDA module.

Every mutant breaks one rule of the engine, in a copy of the tree in FOLDER. One of the tests it names
must then fail or hang; "cuda_faults:loop" is the program cuda_faults with that argument. It is an error
if a mutant survives, cannot be applied or does not compile, or if a test fails without a mutant. All
mutants of a source are in one file:

    file: cuda/engine/order.c
    == name: cuda_order cuda_many_blocks
    The rule that the mutant breaks.
     a line of context, as in a diff; context and removed lines occur exactly once, in this order
    -a removed line
    +an added line
"""

import filecmp
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = "CMakeLists.txt README.md src include cuda tests bench".split()
LIMIT = os.environ.get("KVF_MUTANT_SECONDS", "300")  # limit of a test; longer is a hang


class Mutant:
    def __init__(self, source, heading):
        self.source = source
        self.name, _, tests = heading.removeprefix("== ").partition(": ")
        self.tests = tests.split()
        self.old = self.new = "\n"  # so that every line follows one

    def add(self, line):
        self.old += line[1:] if line[0] in " -" else ""
        self.new += line[1:] if line[0] in " +" else ""

    def mutated(self):
        text = "\n" + (ROOT / self.source).read_text()
        if self.old == "\n" or text.count(self.old) != 1:
            sys.exit(f"mutants: {self.name}: its lines are not in {self.source} exactly once")
        return text.replace(self.old, self.new)[1:]


def read_mutants():
    for path in sorted(HERE.glob("*.mutants")):
        source, *lines = path.read_text().splitlines(keepends=True)
        found = []
        for line in lines:
            if line.startswith("== "):
                found.append(Mutant(source.removeprefix("file: ").strip(), line))
            elif line[0] in " +-":
                found[-1].add(line)
        yield from found


def choose(names):
    chosen = [mutant for mutant in read_mutants() if not names or mutant.name in names]
    missing = set(names) - {mutant.name for mutant in chosen}
    if missing:
        sys.exit(f"mutants: unknown {', '.join(sorted(missing))}")
    return chosen


def copy(tree):
    """Copies the tree; unchanged files keep their time, so that they are not built again."""
    files = {
        path.relative_to(ROOT)
        for name in SOURCES
        for path in [ROOT / name, *(ROOT / name).rglob("*")]
        if path.is_file()
    }
    for old in [path for path in tree.rglob("*") if path.is_file()]:
        if old.relative_to(tree) not in files:
            old.unlink()
    for name in files:
        if not (tree / name).exists() or not filecmp.cmp(ROOT / name, tree / name, shallow=False):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)


def main(folder, *names):
    tree, build, log = folder / "tree", folder / "build", folder / "log.txt"
    mutants = choose(names)
    texts = [mutant.mutated() for mutant in mutants]
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    targets = sorted({test.partition(":")[0] for test in tests})

    def succeeds(*command):
        with open(log, "w") as out:
            return subprocess.run(command, stdout=out, stderr=out).returncode == 0

    def builds():
        jobs = str(os.cpu_count())
        return succeeds("cmake", "--build", build, "--parallel", jobs, "--target", *targets)

    def passes(test):
        program, _, argument = test.partition(":")
        return succeeds("timeout", LIMIT, build / "tests/cuda" / program, *argument.split())

    def fate(mutant):
        if not builds():
            return "does not compile"
        killer = next((test for test in mutant.tests if not passes(test)), None)
        return f"killed by {killer}" if killer else "survives"

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    copy(tree)
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DKVF_TOOL=OFF", f"-DKVF_SHARED={ROOT.parent}/shared"]
    if not succeeds("cmake", "-S", tree, "-B", build, *options) or not builds():
        sys.exit(log.read_text() + "mutants: the tree does not build without a mutant")
    for test in tests:
        if not passes(test):
            sys.exit(log.read_text() + f"mutants: {test} fails without a mutant")

    killed = 0
    for mutant, text in zip(mutants, texts):
        (tree / mutant.source).write_text(text)
        word = fate(mutant)
        shutil.copy(ROOT / mutant.source, tree / mutant.source)
        print(f"{mutant.name}: {word}", flush=True)
        if word == "does not compile":
            print(log.read_text())
        killed += word.startswith("killed")
    print(f"mutants: {killed} killed, {len(mutants) - killed} not")
    sys.exit(killed < len(mutants))


main(Path(sys.argv[1]).absolute(), *sys.argv[2:])

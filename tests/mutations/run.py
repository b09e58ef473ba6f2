"""Seeds each fault of faults.py into a copy of the store, and asks whether the tests notice.

    python tests/mutations/run.py [NAME ...]        those named, or all of them
    python tests/mutations/run.py --simulate        not their tests are asked but the simulator: 60 lives of 30 cuts

    for each fault:  its text replaced in build/mutants/src ──> that module compiled ──> its tests, until one fails
                     caught: a test failed    survived: all passed    broken: it does not compile, or no test ran

Before the first fault the same tests run on the copy as it is: who fails then cannot catch anything. Sources and tests
are those of the beginning, whatever is edited meanwhile; the copy keeps its compiled modules between runs.

Exit codes: 0 every fault was caught, 1 one survived or is broken, 2 the tests fail without a fault.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.mutations.faults import FAULTS, ROOT, SIMULATED, Fault

COPY = ROOT / "build" / "mutants"
TEST_S_MAX = 1200
SOURCES = {".py", ".pyx", ".pxd", ".h", ".json"}
CAUGHT, SURVIVED, BROKEN = "caught", "SURVIVED", "BROKEN"
PYTEST_FAILED = 1


def prepare() -> None:
    """The copy is what the sources are. What differs there is new, so that it is compiled; the rest stays compiled."""
    if not COPY.exists():
        objects = [str(path.relative_to(ROOT)) for path in (ROOT / "build").glob("temp.*")]
        for name in ("src", "build/cython", *objects):
            shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, COPY / name)
    shutil.rmtree(COPY / "tests", ignore_errors=True)
    shutil.copytree(ROOT / "tests", COPY / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "src").rglob("*.*"):
        target = COPY / path.relative_to(ROOT)
        if path.is_file() and path.suffix in SOURCES and not (target.exists() and filecmp.cmp(path, target, False)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def compile_copy() -> str:
    """What went wrong; empty when it is compiled."""
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=COPY, check=False, capture_output=True, text=True,
    )  # fmt: skip
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


def run_tests(tests: Iterable[str]) -> tuple[int, str]:
    """pytest's exit code on the copy, and the line that says what failed."""
    environment = {**os.environ, "PYTHONPATH": str(COPY / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=COPY, env=environment, check=False, capture_output=True, text=True, timeout=TEST_S_MAX
        )
    except subprocess.TimeoutExpired:
        return PYTEST_FAILED, f"no end within {TEST_S_MAX} s"
    said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, said[0] if said else (done.stdout + done.stderr)[-300:].strip()


def simulate() -> tuple[int, str]:
    """The simulator's exit code on the copy, and the first violation."""
    environment = {**os.environ, "PYTHONPATH": str(COPY / "src"), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "tests.simulator.run", "--seeds", "60", "--cuts", "1800"]
    done = subprocess.run(command, cwd=COPY, env=environment, check=False, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    return (done.returncode if said or done.returncode == 0 else 2), said[0] if said else done.stderr[-300:].strip()


def try_fault(fault: Fault, simulated: bool) -> tuple[str, str]:
    """(caught, survived or broken; by what)."""
    target = COPY / "src" / "millpond" / fault.file
    whole = target.read_text()
    target.write_text(fault.seeded(whole))
    try:
        if wrong := compile_copy():
            return BROKEN, wrong
        code, said = simulate() if simulated else run_tests(fault.tests)
    finally:
        target.write_text(whole)  # its time is now: it is compiled once more
    if code == 0:
        return SURVIVED, ""
    return (CAUGHT, said) if code == PYTEST_FAILED else (BROKEN, said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults of tests/mutations/faults.py")
    parser.add_argument("--simulate", action="store_true", help="ask the simulator, by default about SIMULATED")
    asked = parser.parse_args()
    names = asked.names or (SIMULATED if asked.simulate else [])
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    if unknown := set(names) - {fault.name for fault in chosen}:
        parser.error(f"no such faults: {', '.join(sorted(unknown))}")
    prepare()
    if wrong := compile_copy():
        print(f"the copy does not compile:\n{wrong}", file=sys.stderr)
        return 2
    code, said = simulate() if asked.simulate else run_tests(sorted({test for fault in chosen for test in fault.tests}))
    if code:
        print(f"without any fault: {said}", file=sys.stderr)
        return 2
    outcomes = []
    for fault in chosen:
        began = time.monotonic()
        verdict, said = try_fault(fault, asked.simulate)
        outcomes.append(verdict)
        print(f"{verdict:8}  {fault.name:32} {time.monotonic() - began:4.0f} s  {said}", flush=True)
    compile_copy()
    print(f"{outcomes.count(CAUGHT)} of {len(outcomes)} caught")
    return 0 if outcomes.count(CAUGHT) == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())

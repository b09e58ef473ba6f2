"""Runs the test suite of a NATS client against nats-server and against Millpond, and shows where they differ.

    python tests/clients/suites.py --directory ~/nats.py/nats -- python -m pytest tests --junitxml={report}
    python tests/clients/suites.py --directory ~/nats.c/test --each list.txt -- ~/build/bin/testsuite {test}
    python tests/clients/suites.py --directory ~/nats.go --tester -- gotestsum --junitfile {report} -- ./jetstream/...

The suite is whatever starts a `nats-server` by name: the command runs in `--directory` with each server first on
PATH in turn, nats-server itself (of the development dependencies) and the executable of `millpond shim`. Its outcome
is read from the JUnit report that it writes to {report}, or, with --each, from the exit code of one command per
name in a file. With --tester, servers are started by the service of `tester.py`, whose address the command finds in
TESTER_NATS_URL. Nothing is downloaded or built here: the checkout is there, with what it needs. Suites use fixed
ports, so nothing else may run on 4222 and the like. docs/compatibility.md has what was measured.

Exit codes: 0 what passes with nats-server passes with Millpond, 1 something does not, 2 the suite could not be run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from millpond.cli import shim

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
REFUSALS = (
    re.compile(r"millpond does not serve ([\w ]+?) yet"),
    re.compile(r"flag -\w+: ([\w ]+?) is not supported by millpond yet"),
    re.compile(r"(\w+(?: async)?) is not supported by this server"),
)
"""How Millpond says what it does not serve: in a configuration, on the command line, in an answer."""
NAME_OF_TEST = re.compile(r"_test\(([^)]+)\)|(\S+)")
EACH_S_MAX = 90
MESSAGE_CHARS = 100


class Outcome(NamedTuple):
    """Of one test. `text` is what a failed one said."""

    verdict: str
    text: str = ""


Outcomes = dict[str, Outcome]


def read_report(path: Path) -> Outcomes:
    """A JUnit report. Raises OSError, ElementTree.ParseError. A test that is listed twice has its last outcome."""
    found: Outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
        found[name] = Outcome(PASSED)
        for child in case:
            if child.tag in ("failure", "error"):
                found[name] = Outcome(FAILED, f"{child.get('message') or ''}\n{child.text or ''}")
            elif child.tag == "skipped":
                found[name] = Outcome(SKIPPED)
    return found


def read_names(path: Path) -> list[str]:
    """One test a line, bare or as `_test(Name)`."""
    found = (NAME_OF_TEST.match(line.strip()) for line in path.read_text().splitlines())
    return [match[1] or match[2] for match in found if match]


@contextlib.contextmanager
def tester(path: str) -> Iterator[dict[str, str]]:
    """What the environment of a suite needs to find the service of `tester.py`, while that runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("tester.py")), "--port", str(port)]
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(2)
            yield {"TESTER_NATS_URL": f"nats://localhost:{port}"}
        finally:
            process.terminate()


def run(
    command: list[str], directory: Path, path: str, timeout_s: int, more: dict[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and output; what it left running in its process group is ended. A time-out is code -1."""
    environment = {**os.environ, "PATH": path, **(more or {})}
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, code = process.communicate(timeout=timeout_s)[0], process.returncode
        except subprocess.TimeoutExpired:
            output, code = f"no end within {timeout_s} s", -1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return code, output


def outcomes(options: argparse.Namespace, server: Path) -> Outcomes:
    """The whole suite with this directory first on PATH. Raises SystemExit when it wrote no report."""
    path = f"{server}{os.pathsep}{os.environ['PATH']}"
    if options.each:
        found = {}
        for name in read_names(options.directory / options.each):
            command = [word.replace("{test}", name) for word in options.command]
            code, output = run(command, options.directory, path, EACH_S_MAX)
            found[name] = Outcome(PASSED) if code == 0 else Outcome(FAILED, output)
        return found
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [word.replace("{report}", str(report)) for word in options.command]
        with tester(path) if options.tester else contextlib.nullcontext({}) as more:
            code, output = run(command, options.directory, path, options.timeout, more)
        try:
            return read_report(report)
        except (OSError, ElementTree.ParseError) as error:
            print(f"no report ({error}); the command ended with {code}:\n{output[-2000:]}", file=sys.stderr)
            raise SystemExit(2) from None


def needs(text: str) -> str:
    """The features whose refusal a failed test shows, "" for none."""
    return ", ".join(sorted({match for pattern in REFUSALS for match in pattern.findall(text)}))


def compared(reference: Outcomes, ours: Outcomes) -> tuple[str, int]:
    """The table for people, and how many tests pass with nats-server only."""
    lines = ["| Server | Passed | Failed | Skipped |", "| --- | --- | --- | --- |"]
    for name, found in (("nats-server", reference), ("Millpond", ours)):
        count = Counter(outcome.verdict for outcome in found.values())
        lines.append(f"| {name} | {count[PASSED]} | {count[FAILED]} | {count[SKIPPED]} |")
    worse = [name for name, outcome in reference.items() if outcome.verdict == PASSED and failed(ours, name)]
    by_need = Counter(needs(ours[name].text if name in ours else "") for name in worse)
    lines += ["", "| Needs | Tests |", "| --- | --- |"]
    lines += [f"| {need or 'see below'} | {count} |" for need, count in by_need.most_common()]
    for name in worse:
        text = ours[name].text if name in ours else "not run"
        if not needs(text):
            lines.append(f"\n{name}\n    {' '.join(text.split())[:MESSAGE_CHARS]}")
    return "\n".join(lines), len(worse)


def failed(found: Outcomes, name: str) -> bool:
    """A test that did not run has failed; one that was skipped has not."""
    return name not in found or found[name].verdict == FAILED


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--directory", type=Path, default=Path(), help="where the suite runs")
    parser.add_argument("--each", type=Path, help="file there with names of tests, a command for each: {test}")
    parser.add_argument("--tester", action="store_true", help="servers come from tester.py")
    parser.add_argument("--timeout", type=int, default=3600, metavar="S", help="of the whole suite, per server")
    parser.add_argument("command", nargs="+", help="the suite; {report} is the JUnit report that it writes")
    options = parser.parse_args(argv)
    if options.each is None and not any("{report}" in word for word in options.command):
        parser.error("the command needs {report}, or --each a file")
    reference = Path(sys.prefix) / "bin" / "nats-server"
    if not reference.exists():
        parser.error(f"{reference} is missing: install the development dependencies")
    print(f"{options.directory}$ {shlex.join(options.command)}")
    with tempfile.TemporaryDirectory() as directory:
        real, own = Path(directory, "real"), Path(directory, "own")
        real.mkdir()
        (real / "nats-server").symlink_to(reference)
        shim.write(own)
        text, worse = compared(outcomes(options, real), outcomes(options, own))
    print(text)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

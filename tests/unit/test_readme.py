"""What README.md shows is run: its programs, its tests, its command lines."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from millpond.cli import flags

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.M | re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
PROGRAMS = [text for text in PYTHON if text.endswith("\nasyncio.run(main())\n")]
COMMANDS = re.findall(r"millpond serve ([^`#\n]*)", README.read_text())


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs_run(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'hello'\n", "")


def test_tests_pass(tmp_path: Path) -> None:
    tests = [text for text in PYTHON if "def test_" in text]
    fixtures = [text for text in PYTHON if "nats_server_fixture(" in text]
    assert tests
    assert fixtures
    for number, text in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(text)
    for number, text in enumerate(fixtures):
        inner = tmp_path / f"fixture_{number}"
        inner.mkdir()
        (inner / "conftest.py").write_text(text)
        (inner / "test_it.py").write_text("def test_it(nats_server):\n    assert nats_server.port\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{len(tests) + len(fixtures)} passed" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_are_understood(command: str) -> None:
    flags.parse(shlex.split(command))

"""`-t -c file` with both servers: the same files are taken, and for the same reasons refused."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from millpond.cli import serve
from tests.certificates import Authority

from .config_files import DIFFERENT, ENVIRONMENT, PART, SAME
from .target import REFERENCE, reference_executable, why_missing

ROWS = Path(__file__).parents[2] / "docs" / "differences.md"
DIGEST = re.compile(r"is valid \((sha256:[0-9a-f]{64})\)\n$")
PLACE = re.compile(r"^(?:nats-server|millpond): [^ :]+:\d+:\d+: ", re.M)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part.conf").write_text(PART)
    for name, content in pem_files().items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOPE", raising=False)


@cache
def pem_files() -> dict[str, bytes]:
    """Made once in a run."""
    with TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        pairs = [authority.server("one"), authority.server("two")]
        found = {"ca.pem": authority.ca_file.read_bytes(), "garbage.pem": b"nothing of that kind\n"}
        for number, pair in zip(("", "2"), pairs, strict=True):
            found[f"cert{number}.pem"] = pair.cert_file.read_bytes()
            found[f"key{number}.pem"] = pair.key_file.read_bytes()
        return found


def reference(text: str) -> tuple[int, str]:
    if (reason := why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    Path("it.conf").write_text(text, newline="")
    command = [str(reference_executable()), "-t", "-c", "it.conf"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stderr


def ours(text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    Path("it.conf").write_text(text, newline="")
    code = serve.main(["-t", "-c", "it.conf"])
    return code, capsys.readouterr().err


@pytest.mark.reference
@pytest.mark.parametrize("text", SAME)
def test_both_judge_alike(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (their_code, theirs), (our_code, our) = reference(text), ours(text, capsys)
    assert (our_code, DIGEST.findall(our)) == (their_code, DIGEST.findall(theirs)), f"{theirs}\n{our}"
    if our_code == 0:
        assert our.replace("millpond: ", "nats-server: ") == theirs
    else:
        assert our.startswith("millpond: ")
        unknown = re.findall(r'unknown field "([^"]*)"', theirs)
        assert sorted(re.findall(r'unknown field "([^"]*)"', our)) == sorted(unknown)
        assert bool(PLACE.search(our)) >= bool(PLACE.search(theirs)), "an error without its place"


@pytest.mark.reference
@pytest.mark.parametrize(("row", "text"), [(row, text) for row, texts in DIFFERENT.items() for text in texts])
def test_known_differences(row: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"| {row} |" in ROWS.read_text()
    (their_code, theirs), (our_code, our) = reference(text), ours(text, capsys)
    assert our_code != their_code, f"both agree now\n{theirs}\n{our}"
    assert (our_code == 0) == (row == "config-lenient"), our


@pytest.mark.reference
def test_the_command_line_of_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["-t"], ["-t", "-c", "nothing.conf"], ["-c", "nothing.conf"], ["--config=nothing.conf", "--t"]):
        command = [str(reference_executable()), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert serve.main(arguments) == done.returncode == 1
        assert capsys.readouterr().err.replace("millpond: ", "nats-server: ") == done.stderr

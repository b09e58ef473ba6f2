"""`millpond shim DIR`: a nats-server that other programs can start by name."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import nats
import pytest

from millpond.cli import shim

# What makes a Python lose its way: none of it may reach the server's own.
FOREIGN_PYTHON = {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONSAFEPATH": "", "VIRTUAL_ENV": "/nowhere"}


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    directory = tmp_path / "a place" / "it's"
    assert shim.main([str(directory)]) == 0
    path = directory / "nats-server"
    said = capsys.readouterr().out
    for part in (str(path), sys.executable, "nats-server: v2.15.1", "export PATH="):
        assert part in said
    return path


@pytest.mark.parametrize("flag", ["-v", "--version", "-version", "version"])
def test_it_prints_the_version_that_starters_parse(program: Path, flag: str) -> None:
    environment = {**os.environ, **FOREIGN_PYTHON, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["nats-server", flag], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nats-server: v2.15.1\n", "")


def test_it_serves_with_the_arguments_it_is_given(program: Path, tmp_path: Path) -> None:
    command = [program, "-a", "127.0.0.1", "-p", "-1", "-n", "by name"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stderr is not None
            address = next(line.split()[-1] for line in process.stderr if "Listening for client connections" in line)

            async def name() -> object:
                client = await nats.connect(f"nats://{address}")
                found = client._server_info["server_name"]
                await client.close()
                return found

            assert asyncio.run(name()) == "by name"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_an_unknown_flag_is_refused_in_the_name_of_nats_server(program: Path) -> None:
    done = subprocess.run([program, "--nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nats-server: flag provided but not defined: -nonsense")


def test_its_own_file_is_written_again_another_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nats-server"
    path.write_text("the real one")
    assert shim.main([str(tmp_path)]) == 1
    assert path.read_text() == "the real one"
    assert "--force" in capsys.readouterr().err
    assert shim.main([str(tmp_path), "--force"]) == 0
    assert shim.main([str(tmp_path)]) == 0
    assert os.listdir(tmp_path) == ["nats-server"]


def test_a_link_to_somewhere_else_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text(shim.MARK)
    (tmp_path / "nats-server").symlink_to(target)
    assert shim.main([str(tmp_path)]) == 1
    assert target.read_text() == shim.MARK


def test_a_shim_that_does_not_start_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert shim.main([str(tmp_path)]) == 1
    assert "does not start" in capsys.readouterr().err


def test_wrong_usage() -> None:
    with pytest.raises(SystemExit) as usage:
        shim.main([])
    assert usage.value.code == 2

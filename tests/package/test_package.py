"""The package as users get it: what an sdist holds, an install from it, and what a machine without a compiler says."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SDIST = "import setuptools.build_meta as b, sys; print(b.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    out = subprocess.check_output([sys.executable, "-c", SDIST, str(folder)], cwd=ROOT, text=True)
    return folder / out.split()[-1]


def test_an_sdist_holds_every_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kinds = (".py", ".pyx", ".pxd", ".pyi", ".h", ".typed", ".json")
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*") if path.suffix in kinds}
    assert sources - names == set()
    assert {"README.md", "setup.py", "pyproject.toml", "Makefile", "tests/package/test_package.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".c"))]


def test_a_missing_compiler_is_told_plainly() -> None:
    environment = {**os.environ, "CC": "no-such-compiler -O2"}
    command = [sys.executable, "setup.py", "build_ext"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no C compiler found (looked for 'no-such-compiler')" in done.stderr
    assert "apt-get install gcc" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_python_header_is_told_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup: dict[str, Any] = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setenv("CC", sys.executable)
    with pytest.raises(SystemExit) as caught:
        setup["check_tool_chain"]()
    assert f"{tmp_path}/Python.h is missing" in str(caught.value)
    assert "python3-dev" in str(caught.value)


@pytest.mark.slow
def test_an_install_from_the_sdist_serves(sdist: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / "bin"
    subprocess.run([binaries / "pip", "install", "--quiet", sdist], check=True, timeout=1200)
    assert subprocess.check_output([binaries / "millpond", "--version"], text=True).startswith("millpond: v")
    command = [binaries / "millpond", "serve", "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", tmp_path / "data"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stderr is not None
        assert any("Server is ready" in line for line in server.stderr)
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        assert server.wait(20) == 0
    command = [binaries / "python", "-c", "import millpond; print(millpond.__file__)"]
    where = subprocess.check_output(command, text=True, cwd="/")
    assert str(tmp_path) in where

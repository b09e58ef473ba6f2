"""The memory bench as a command, against the real nats-server, and the doctor on it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond.base import cgroup
from millpond.base.errors import MillpondError

pytestmark = pytest.mark.reference

BENCH = [sys.executable, "-m", "millpond.cli.main", "bench", "memory", "--against", "nats-server"]
DOCTOR = [sys.executable, "-m", "millpond.cli.main", "doctor", "memory"]


@pytest.fixture(autouse=True)
def reference_server() -> None:
    if shutil.which("nats-server") is None and not Path(sys.executable).with_name("nats-server").exists():
        pytest.skip("nats-server is not installed")


@pytest.fixture
def disk_dir() -> Iterator[Path]:
    """A directory that is not on a tmpfs, as the bench demands."""
    with tempfile.TemporaryDirectory(prefix="millpond-bench-", dir=".") as directory:
        yield Path(directory)


def groups_of(pid: int) -> list[str]:
    """Memory groups made by the bench with that process id that are still there."""
    try:
        return [p.name for p in Path(cgroup.group_of().directory).glob(f"millpond-bench-{pid}-*")]
    except (MillpondError, OSError) as error:
        pytest.skip(str(error))


def test_five_seconds_of_all_modes(disk_dir: Path) -> None:
    arguments = ["--without-millpond", "--minutes", "0.083", "--rate", "400", "--mode", "all", "--parallel-modes"]
    done = subprocess.run(
        [*BENCH, *arguments, "--out", str(disk_dir)], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (disk_dir / "memory.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["mode"] for row in rows} == {"purge", "delete", "expiry"}
    assert all(int(row["rss"]) > 5 << 20 for row in rows)
    assert all(row["failed"] == "0" for row in rows)
    assert int(rows[-1]["operations"]) > 1000
    assert "| purge | nats-server | RSS |" in (disk_dir / "memory.md").read_text()
    assert not list(disk_dir.glob("*/store")), "stores are removed"


def test_interrupted_it_cleans_up_and_reports(disk_dir: Path) -> None:
    arguments = ["--without-millpond", "--minutes", "5", "--rate", "400", "--out", str(disk_dir)]
    child = subprocess.Popen(
        [*BENCH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        server = wait_for_server(child, disk_dir)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, out + err
    assert "| purge | nats-server |" in out
    assert not os.path.exists(f"/proc/{server}"), "its server is gone"
    assert groups_of(child.pid) == []


def test_a_server_that_ends_takes_no_other_with_it(disk_dir: Path) -> None:
    arguments = ["--without-millpond", "--minutes", "0.15", "--rate", "200", "--mode", "all", "--parallel-modes"]
    child = subprocess.Popen(
        [*BENCH, *arguments, "--out", str(disk_dir)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        server = wait_for_server(child, disk_dir / "nats-server-delete")
        wait_for_samples(child, disk_dir / "memory.csv")
        os.kill(server, signal.SIGKILL)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 1, out + err
    assert "nats-server, delete: nats-server ended during the run (signal SIGKILL" in err
    with (disk_dir / "memory.csv").open() as file:
        seconds = {row["mode"]: float(row["t_s"]) for row in csv.DictReader(file)}
    assert seconds["purge"] > 8 < seconds["expiry"]
    assert seconds.get("delete", 0) < seconds["purge"]
    assert "| purge | nats-server | RSS |" in out
    assert groups_of(child.pid) == []


def wait_for_samples(bench: subprocess.Popen[str], file: Path) -> None:
    """Until all three modes are under load: before that the end of a server ends the whole run."""
    while bench.poll() is None:
        if file.exists() and ",expiry," in file.read_text():
            return
        time.sleep(0.05)  # nothing tells us: the file is the bench's
    raise AssertionError(f"the bench ended with {bench.returncode}")


def places(out: Path) -> list[Path]:
    """Where a server has the last of the streams; none while it renames what is on the way there."""
    try:
        return list(out.glob("**/store/jetstream/*/streams/LOCKS_5"))
    except FileNotFoundError:
        return []


def wait_for_server(bench: subprocess.Popen[str], out: Path) -> int:
    """The process id of the server that the bench loads, once it has streams."""
    while bench.poll() is None:
        for place in places(out):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        command = Path("/proc", name, "cmdline").read_bytes()
                    except OSError:
                        continue
                    if str(place.parents[3]).encode() in command:
                        return int(name)
        time.sleep(0.05)  # nothing tells us: the directory is the server's
    raise AssertionError(f"the bench ended with {bench.returncode}")


def test_the_doctor_on_a_loaded_nats_server(disk_dir: Path) -> None:
    arguments = ["--without-millpond", "--minutes", "5", "--rate", "2000", "--out", str(disk_dir)]
    bench = subprocess.Popen(
        [*BENCH, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        server = wait_for_server(bench, disk_dir)  # type: ignore[arg-type]
        done = subprocess.run(
            [*DOCTOR, "--pid", str(server), "--seconds", "5", "--json"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["subject"] == f"nats-server (pid {server})"
        assert said["samples"] >= 4
        assert said["slopes"]["kernel"]["per_hour"] > 0 or not groups_of(bench.pid)
    finally:
        bench.send_signal(signal.SIGINT)
        bench.wait(60)
    assert bench.returncode == 130

"""The runner of clients' suites, with small suites of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import suites

pytestmark = pytest.mark.reference

SUITE = """
import subprocess, sys

def test_it_is_a_nats_server():
    assert subprocess.run(["nats-server", "-v"], capture_output=True).stdout.startswith(b"nats-server: v2.")

def test_it_takes_cluster_flags():
    command = ["nats-server", "--cluster_name", "c", "-t", "-c", "good.conf"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

def test_it_is_written_in_go():
    with open(__import__("shutil").which("nats-server"), "rb") as file:
        assert file.read(4) == b"\\x7fELF", "some other executable"

def test_that_nobody_passes():
    assert False
"""

SUITE_WITH_TESTER = """
import asyncio, json, os, nats

async def asked(client, verb, **body):
    answer = await client.request("tester." + verb, json.dumps(body).encode(), timeout=30)
    assert not answer.headers, answer.headers
    return json.loads(answer.data)

def served(act):
    async def run():
        client = await nats.connect(os.environ["TESTER_NATS_URL"])
        try:
            await act(client)
        finally:
            await client.close()
    asyncio.run(run())

def test_a_server_is_stopped_started_and_reloaded():
    async def act(client):
        made = await asked(client, "create.server", jetstream=True, snippets={"top": "max_payload: 1000"})
        name = made["servers"][0]["name"]
        url = f"nats://localhost:{made['servers'][0]['port']}"
        own = await nats.connect(url)
        assert own.max_payload == 1000
        await own.jetstream().add_stream(name="S", subjects=["s"])
        await own.close()
        await asked(client, "stop.server", name=name)
        await asked(client, "start.server", name=name)
        await asked(client, "update.server", name=name, snippets={"top": "max_payload: 2000"})
        await asked(client, "reload.server", name=name)
        own = await nats.connect(url)
        assert own.max_payload == 2000
        assert (await own.jetstream().stream_info("S")).config.name == "S"
        await own.close()
        assert (await asked(client, "destroy", instance_id=made["id"]))["destroyed"]
        assert await asked(client, "status") == {"instances": []}
    served(act)

def test_a_cluster():
    async def act(client):
        made = await asked(client, "create.cluster", servers=2, jetstream=False)
        await asked(client, "destroy", instance_id=made["id"])
    served(act)
"""


@pytest.fixture(autouse=True)
def reference() -> None:
    if not (Path(sys.prefix) / "bin" / "nats-server").exists():
        pytest.skip("needs the nats-server executable of the development dependencies")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, suites.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_differences_are_shown_with_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "good.conf").write_text("port: -1\n")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={report}"]
    done = run("--directory", str(tmp_path), "--", *pytest_command)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "| nats-server | 3 | 1 | 0 |" in done.stdout
    assert "| Millpond | 1 | 3 | 0 |" in done.stdout
    assert "| clustering | 1 |" in done.stdout
    assert "test_it_is_written_in_go\n    AssertionError: some other executable" in done.stdout
    assert "nobody" not in done.stdout


def test_one_command_for_each_name(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("_test(v)\n_test(version)\n")
    done = run("--each", str(tmp_path / "names"), "--", "nats-server", "-{test}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| Millpond | 2 | 0 | 0 |" in done.stdout


def test_servers_from_the_tester(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE_WITH_TESTER)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={report}"]
    done = run("--directory", str(tmp_path), "--tester", "--", *pytest_command)
    assert "| nats-server | 2 | 0 | 0 |" in done.stdout, done.stdout + done.stderr
    assert "| Millpond | 1 | 1 | 0 |" in done.stdout
    assert "| clustering | 1 |" in done.stdout


def test_a_suite_without_a_report_could_not_be_run() -> None:
    done = run("--", "nats-server", "-v", "{report}")
    assert done.returncode == 2
    assert "no report" in done.stderr
    assert run("--", "nats-server", "-v").returncode == 2


def test_what_is_left_running_is_ended(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("one\n")
    script = "nats-server -a 127.0.0.1 -p -1 >/dev/null 2>&1 & echo $! >>pids"
    assert (
        run("--directory", str(tmp_path), "--each", str(tmp_path / "names"), "--", "sh", "-c", script).returncode == 0
    )
    for pid in (tmp_path / "pids").read_text().split():
        stat = Path("/proc", pid, "stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_refusal_names() -> None:
    assert suites.needs("x: millpond does not serve a list of users yet; remove it") == "a list of users"
    assert suites.needs("flag -cluster: clustering is not supported by millpond yet") == "clustering"
    assert suites.needs("persist_mode async is not supported by this server") == "persist_mode async"
    assert suites.needs("anything else") == ""

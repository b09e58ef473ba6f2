"""The server as a process: what starters, init systems and people rely on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from tests.conformance.wire_client import Client
from tests.unit.server.process import MILLPOND, Running

LINE = re.compile(r"^\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(INF|WRN|ERR|FTL|DBG|TRC)\] .*$")


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([str(MILLPOND), *arguments], check=False, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def config(folder: Path, **settings: object) -> Path:
    path = folder / "f.conf"
    lines = {"listen": '"127.0.0.1:-1"', **settings}
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


def test_a_whole_life_from_a_file(tmp_path: Path) -> None:
    files = {"pid_file": f'"{tmp_path}/pid"', "ports_file_dir": f'"{tmp_path}"'}
    path = config(tmp_path, **files, max_payload=5000, authorization="{user: ann, password: one}")
    with Running("-c", str(path)) as server:
        port = server.ready()
        assert (tmp_path / "pid").read_text() == str(server.pid)
        client = Client(port, user="ann", **{"pass": "one"})
        assert client.info["max_payload"] == 5000
        ports = json.loads((tmp_path / f"millpond_{server.pid}.ports").read_text())
        assert ports["nats"] == [f"nats://127.0.0.1:{port}"]

        config(tmp_path, **files, max_payload=6000, debug="true", authorization="{user: ann, password: two}")
        server.signal(signal.SIGHUP)
        server.line('[INF] Trapped "hangup" signal')
        reloaded = server.line("[INF] Reloaded server configuration (sha256:")
        assert {line.partition("[INF] ")[2].strip() for line in server.seen if "Reloaded: " in line} == {
            "Reloaded: max_payload = 6000", "Reloaded: debug = true", "Reloaded: authorization password",
        }  # fmt: skip
        assert LINE.match(reloaded)
        assert "ERR" not in str(client.until_closed()), "as nats-server: it may come back and try again"
        client.close()
        with Client(port, user="ann", **{"pass": "two"}) as other:
            assert other.info["max_payload"] == 6000

        config(tmp_path, **files, port=1)
        server.signal(signal.SIGHUP)
        assert "config reload not supported for port: old=-1, new=1" in server.line("Failed to reload")
        path.write_text("nonsense: 1")
        server.signal(signal.SIGHUP)
        assert 'f.conf:1:1: unknown field "nonsense"' in server.line("Failed to reload")
        server.signal(signal.SIGUSR1)
        server.line("File log re-open ignored, not a file logger")

        server.signal(signal.SIGTERM)
        code, log = server.end()
    assert code == 0
    assert '[INF] Trapped "terminated" signal' in log
    assert log.rstrip().endswith("[INF] Server Exiting..")
    assert all(LINE.match(line) for line in log.splitlines()), log
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f.conf"]


def test_interrupt_ends_well() -> None:
    with Running("-a", "127.0.0.1", "-p", "-1") as server:
        server.ready()
        server.signal(signal.SIGINT)
        code, log = server.end()
    assert (code, 'Trapped "interrupt" signal' in log) == (0, True)


def test_lame_duck_mode_ends_at_once_without_clients() -> None:
    with Running("-a", "127.0.0.1", "-p", "-1") as server:
        server.ready()
        assert run("serve", "-sl", f"ldm={server.pid}") == (0, "", "")
        code, log = server.end()
    assert code == 0
    for words in ('Trapped "user defined signal 2" signal', "Entering lame duck mode", "Server Exiting.."):
        assert words in log


def test_lame_duck_mode_outlives_term_but_not_int(tmp_path: Path) -> None:
    path = config(tmp_path, lame_duck_grace_period='"1h"', lame_duck_duration='"2h"')
    with Running("-c", str(path)) as server, Client(server.ready(), protocol=1) as client:
        server.signal(signal.SIGUSR2)
        server.line("Entering lame duck mode")
        server.signal(signal.SIGTERM)
        server.line('Trapped "terminated" signal')
        client.flush()
        server.signal(signal.SIGINT)
        assert server.end()[0] == 0


def test_signals_by_command(tmp_path: Path) -> None:
    path = config(tmp_path, pid_file=f'"{tmp_path}/pid"', log_file=f'"{tmp_path}/log"')
    with Running("-c", str(path)) as server:
        log = tmp_path / "log"
        # Everything the log says goes to the file; stderr has nothing to wait for, the command's end is the event.
        while not log.exists() or "Server is ready" not in log.read_text():
            assert server.process.poll() is None
        log.rename(tmp_path / "old")
        assert run("serve", "-sl", f"reopen={tmp_path}/pid") == (0, "", "")
        while not log.exists() or "File log re-opened" not in log.read_text():
            assert server.process.poll() is None
        assert run("serve", "--signal=quit=" + str(server.pid)) == (0, "", "")
        assert server.end() == (0, "")
        assert "Server Exiting.." in log.read_text()
    gone = run("serve", "-sl", f"quit={server.pid}")
    assert gone == (1, "", f'millpond: signal "quit" {server.pid}: no such process\n')
    refused = {"foo=1": 'unknown signal "foo"', "quit=x": "invalid pid: x", "quit=1=2": "invalid signal parameters"}
    for text, words in refused.items():
        code, _, error = run("serve", "-sl", text)
        assert (code, words in error) == (1, True)


def test_a_taken_port_is_fatal_and_says_who_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Running("-a", "127.0.0.1", "-p", str(port)) as server:
            code, log = server.end()
    assert code == 1
    fatal = [line for line in log.splitlines() if "[FTL]" in line]
    assert len(fatal) == 1
    for words in (f"127.0.0.1:{port}", "in use", "try --port -1", f"held by process {os.getpid()} ("):
        assert words in fatal[0]


def test_one_store_directory_has_one_server(tmp_path: Path) -> None:
    flags = ("-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(tmp_path))
    with Running(*flags) as first:
        first.ready()
        with Running(*flags) as second:
            code, log = second.end()
    assert code == 1
    assert re.search(rf"\[FTL\] store directory {tmp_path} is in use by the server with process id {first.pid}", log)


def test_what_cannot_be_written_is_fatal(tmp_path: Path) -> None:
    code, _, error = run("serve", "-l", str(tmp_path / "no" / "log"))
    assert (code, error) == (1, f"millpond: error opening file: open {tmp_path}/no/log: No such file or directory\n")
    code, _, error = run("serve", "-a", "127.0.0.1", "-p", "-1", "-P", str(tmp_path / "no" / "pid"))
    assert (code, "[FTL] Could not write pidfile: open" in error) == (1, True)


def test_wrong_flags() -> None:
    code, out, error = run("serve", "-prot", "1")
    assert (code, out, "flag provided but not defined: -prot; did you mean -port?" in error) == (2, "", True)
    assert run("serve", "--version") == (0, "nats-server: v2.15.1\n", "")


def test_check_config(tmp_path: Path) -> None:
    """`millpond check-config FILE` is -t, without starting anything."""

    def checked(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([MILLPOND, "check-config", *arguments], capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    good, bad = tmp_path / "good.conf", tmp_path / "bad.conf"
    good.write_text("port: 4333\n")
    bad.write_text("prot: 4333\n")
    code, said = checked(str(good))
    assert (code, f"configuration file {good} is valid" in said) == (0, True)
    code, said = checked(str(bad))
    assert (code, f"{bad}:1" in said) == (1, True), said
    for wrong in ((), ("-c", str(good)), ("--help",)):
        assert checked(*wrong) == (2, "Usage: millpond check-config <file>\n")


def test_under_the_name_of_nats_server(tmp_path: Path) -> None:
    """What nats-io's own starter and pytest-nats run."""
    program = tmp_path / "nats-server"
    program.symlink_to(MILLPOND)
    assert subprocess.check_output([program, "--version"], text=True) == "nats-server: v2.15.1\n"
    assert subprocess.check_output([program, "-v"], text=True) == "nats-server: v2.15.1\n"
    assert "nats-server: v2.15.1" in run("--version")[1].splitlines(), "pytest-nats follows the link and asks again"
    failed = subprocess.run([program, "-t"], capture_output=True, text=True, check=False)
    assert failed.stderr.startswith("nats-server: must specify")
    words = ["--addr", "127.0.0.1", "--port", "-1", "--debug", "--jetstream", "--store_dir", str(tmp_path / "store"),
             "--server_name", "pond", "--ports_file_dir", str(tmp_path)]  # fmt: skip
    with Running(*words, program=program) as server:
        port = server.ready()
        with Client(port) as client:
            assert (client.info["server_name"], client.info["jetstream"]) == ("pond", True)
            ports = json.loads((tmp_path / f"nats-server_{server.pid}.ports").read_text())
            assert ports["nats"] == [f"nats://127.0.0.1:{port}"]
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0


def test_what_pytest_nats_writes_and_asks(tmp_path: Path) -> None:
    lines = ['host: "127.0.0.1"', "port: -1", 'http: "127.0.0.1:-1"', "jetstream {", f'  store_dir: "{tmp_path}/js"',
             f"  max_mem: {1 << 28}", f"  max_file: {1 << 30}", "}"]  # fmt: skip
    (tmp_path / "nats.conf").write_text("\n".join(lines) + "\n")
    with Running("-c", str(tmp_path / "nats.conf"), "--ports_file_dir", str(tmp_path)) as server:
        server.ready()
        ports_file = next(iter(tmp_path.glob("*.ports")), None)
        while ports_file is None:  # it is written right after the last line of the log
            assert server.process.poll() is None
            ports_file = next(iter(tmp_path.glob("*.ports")), None)
        url = json.loads(ports_file.read_text())["monitoring"][0]
        with urllib.request.urlopen(f"{url}/healthz?js-enabled-only=true", timeout=5) as answer:
            assert json.load(answer)["status"] == "ok"
        with urllib.request.urlopen(f"{url}/varz", timeout=5) as answer:
            page = json.load(answer)
    assert page["config_digest"].startswith("sha256:")
    assert page["jetstream"]["config"]["max_memory"] == 1 << 28

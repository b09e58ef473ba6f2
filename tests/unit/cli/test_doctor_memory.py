"""The doctor's judgement, from reports made up for it; its words; and its errors."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from millpond.base.budget import Budgets
from millpond.cli import doctor, doctor_memory, doctor_patient
from millpond.cli.doctor_diagnosis import MIB, Diagnosis, diagnose, must_stay, suggested_limit
from millpond.monitor import memory_report
from millpond.monitor.memory_report import MemoryReport

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def report_with(**changed: int) -> MemoryReport:
    """A small server in a v2 group without anything to remark."""
    values = {
        "pid": 7,
        "group_version": 2,
        "rss": 25 * MIB,
        "anon": 18 * MIB,
        "anon_group": 18 * MIB,
        "active_file": 1 * MIB,
        "inactive_file": 4 * MIB,
        "kernel": 2 * MIB,
        "slab": 1 * MIB,
        "slab_reclaimable": 1 * MIB,
        "negative_dentries": 1_000_000,
    }
    values.update(changed)
    values["working_set"] = values["anon_group"] + values["active_file"] + values["kernel"] + values.get("shmem", 0)
    values["cgroup_current"] = values["working_set"] + values["inactive_file"]
    return MemoryReport(group="/sys/fs/cgroup/pod", **values)  # type: ignore[arg-type]


def course(seconds: int, **per_second: int) -> list[tuple[float, MemoryReport]]:
    """One report a second; each named field grows by that many bytes a second."""
    start = report_with()
    return [
        (float(t), report_with(**{name: getattr(start, name) + rate * t for name, rate in per_second.items()}))
        for t in range(seconds + 1)
    ]


def examine(reports: list[tuple[float, MemoryReport]], program: str = "") -> Diagnosis:
    return diagnose("somebody", reports, program=program)


def test_nothing_moves() -> None:
    seen = examine(course(60))
    assert not seen.climbing
    assert seen.verdict.startswith("flat")
    assert seen.causes == []
    assert "64Mi, requests = limits" in seen.advice[0]


def test_a_nats_server_whose_working_set_climbs_with_flat_rss() -> None:
    names = 500
    reports = course(60, kernel=names * 200, slab=names * 200, slab_reclaimable=names * 200, negative_dentries=names)
    seen = examine(reports, program="nats-server")
    assert seen.climbing
    assert "kernel memory +343.3 MiB/h" in seen.verdict
    assert seen.names_forgotten == 60 * names
    assert not seen.slopes["anon"].climbing
    (cause,) = seen.causes
    assert "30,000 more file names that do not exist" in cause
    assert "100% of the rise" in cause
    assert "nats-server goes on to a block file with a new name" in cause
    assert any("can be taken back" in advice for advice in seen.advice)
    assert seen.limit_suggested == suggested_limit(report_with()), "what can be taken back raises no limit"


def test_slab_without_forgotten_names_is_not_blamed_on_them() -> None:
    seen = examine([(0.0, report_with(kernel=400 * MIB, slab=390 * MIB, negative_dentries=1000))])
    assert "most of the slab is something else" in seen.causes[0]
    assert "drop_caches" not in seen.causes[0]


def test_a_growing_heap_is_the_programs_matter() -> None:
    seen = examine(course(60, anon=200_000, anon_group=200_000))
    assert "process memory" in seen.verdict
    assert "its profiler" in seen.causes[0]
    assert "No limit is right" in seen.advice[0]


def test_a_growing_heap_is_explained_by_the_budgets_that_grew() -> None:
    reports = course(60, anon=200_000, anon_group=200_000)
    for at, used in ((0, 1), (-1, 11)):
        budgets = {
            "dedupe": memory_report.BudgetUse(used * MIB, 0),
            "subjects": memory_report.BudgetUse(5 * MIB, 0),
            "locks": memory_report.BudgetUse(used * MIB // 2, 0),
        }
        reports[at] = (reports[at][0], msgspec.structs.replace(reports[at][1], budgets=budgets))
    dedupe, locks = examine(reports).causes
    assert dedupe.startswith("Duplicate windows grew by 10.0 MiB: ids of messages (Nats-Msg-Id)")
    assert locks == "Locks grew by 5.0 MiB: see docs/memory.md."
    reports[0] = (0.0, msgspec.structs.replace(reports[0][1], budgets=reports[-1][1].budgets))
    assert "none of its budgets does" in examine(reports).causes[0]


def test_a_breathing_heap_is_not_growth() -> None:
    reports = [(float(t), report_with(anon=(18 + t % 2) * MIB, anon_group=(18 + t % 2) * MIB)) for t in range(60)]
    assert not examine(reports).climbing


def test_active_page_cache_is_named_and_can_be_taken_back() -> None:
    seen = examine(course(60, active_file=1_000_000))
    assert "active page cache" in seen.verdict
    assert "used more than once" in seen.causes[0]
    assert seen.limit_suggested <= suggested_limit(report_with()) + 32 * MIB


def test_inactive_page_cache_is_not_counted() -> None:
    seen = examine(course(60, inactive_file=1_000_000))
    assert not seen.climbing
    assert seen.slopes["inactive_file"].climbing


def test_tmpfs_is_named() -> None:
    assert "tmpfs" in " ".join(examine([(0.0, report_with(shmem=100 * MIB))]).causes)


def test_falling() -> None:
    reports = course(60, active_file=1_000_000)
    backwards = [(t, report) for (t, _), (_, report) in zip(reports, reversed(reports), strict=True)]
    assert examine(backwards).verdict.startswith("falling")


def test_time_to_the_limit() -> None:
    rate = 1_000_000
    reports = course(60, active_file=rate)
    limit = reports[-1][1].working_set + rate * 3600 * 5
    reports = [(t, msgspec.structs.replace(report, cgroup_limit=limit)) for t, report in reports]
    assert any("is reached in 5 hours" in advice for advice in examine(reports).advice)


def test_one_look_has_no_trend() -> None:
    assert "no trend" in examine([(0.0, report_with())]).verdict


def test_the_limit_fits_what_stays_half_as_much_again() -> None:
    big = report_with(anon=300 * MIB, anon_group=300 * MIB)
    assert must_stay(big) == 301 * MIB
    assert 301 * 1.5 <= suggested_limit(big) / MIB <= 301 * 1.5 + 64
    assert suggested_limit(big) % (32 * MIB) == 0
    v1 = msgspec.structs.replace(big, group_version=1, slab_reclaimable=0, kernel=102 * MIB, slab=100 * MIB)
    assert must_stay(v1) == 300 * MIB + 2 * MIB + 8 * MIB
    assert must_stay(MemoryReport(rss=5 * MIB)) == 5 * MIB


def test_the_parts_add_up_to_the_working_set() -> None:
    budgets = {"read_cache": memory_report.BudgetUse(3 * MIB, 4 * MIB), "subjects": memory_report.BudgetUse(MIB, 0)}
    seen = msgspec.structs.replace(report_with(anon_group=20 * MIB), budgets=budgets)
    diagnosis = diagnose("somebody", [(0.0, seen)])
    parts = doctor_memory._parts(diagnosis)
    assert sum(size for _, size, _ in parts) == seen.working_set
    text = doctor_memory.render(diagnosis)
    assert "read cache                                   3.0 MiB   budget 4.0 MiB" in text
    assert "other processes of the group                 2.0 MiB" in text
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/usr/bin/nats-server", "-js"], True),
        (["millpond", "serve"], True),
        (["/v/bin/python3.11", "/v/bin/millpond", "serve", "-js"], True),
        (["python", "-m", "millpond", "serve"], True),
        (["python", "-m", "millpond", "doctor", "memory"], False),
        (["/v/bin/python", "-I", "/v/bin/nats-server", "-c", "nats.conf"], True),
        (["python", "nats-server"], False),
        (["grep", "nats-server"], False),
        (["vi", "millpond"], False),
        ([], False),
    ],
)
def test_which_processes_are_servers(command: list[str], expected: bool) -> None:
    assert doctor_patient.is_server(command) is expected


def test_flags_in_gos_style() -> None:
    names = ("sd", "store_dir")
    assert doctor_patient.flag_value(["nats-server", "-sd", "/data"], names) == "/data"
    assert doctor_patient.flag_value(["nats-server", "--store_dir=/data"], names) == "/data"
    assert doctor_patient.flag_value(["nats-server", "-sd"], names) == ""
    assert doctor_patient.flag_value(["nats-server", "sd", "/x"], names) == ""


class VarzHandler(http.server.BaseHTTPRequestHandler):
    answer: bytes = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/varz", "/memz") else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def varz() -> Iterator[tuple[str, type[VarzHandler]]]:
    handler = type("Handler", (VarzHandler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


@linux
def test_by_url(varz: tuple[str, type[VarzHandler]], capsys: pytest.CaptureFixture[str]) -> None:
    url, handler = varz
    budgets = Budgets()
    budgets.named("read_cache", 4 * MIB).charge(2 * MIB)
    handler.answer = json.dumps({"server_name": "x", "memory": memory_report.varz_object(budgets)}).encode()
    assert doctor.main(["memory", "--url", url + "/", "--seconds", "0"]) == 0
    assert "read cache                                   2.0 MiB   budget 4.0 MiB" in capsys.readouterr().out
    assert doctor.main(["memory", "--url", url, "--seconds", "0.3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] >= 3
    assert said["last"]["budgets"]["read_cache"] == {"used": 2 * MIB, "max": 4 * MIB}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"server_name":"n1","version":"2.15.1","mem":26214400}', "n1 (2.15.1) reports only its RSS, 25.0 MiB"),
        (b"<html>", "does not answer with JSON"),
        (b"[]", "does not answer with a JSON object"),
    ],
)
def test_urls_that_do_not_help(
    varz: tuple[str, type[VarzHandler]], capsys: pytest.CaptureFixture[str], answer: bytes, words: str
) -> None:
    url, handler = varz
    handler.answer = answer
    assert doctor.main(["memory", "--url", url]) == 1
    assert words in capsys.readouterr().err


@linux
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pid", "9999999"], "there is no process 9999999"),
        (["--pid", "0"], "0 is not a process id"),
        (["--cgroup", "/proc"], "is not a control group"),
        (["--cgroup", "/no/such/place"], "is not a directory"),
        (["--url", "http://127.0.0.1:1"], "cannot be reached"),
        (["--url", "ftp://somewhere"], "is not an http address"),
    ],
)
def test_errors_are_plain(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["memory", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["feet"]) == 2
    assert doctor.main([]) == 0
    for arguments in (["--seconds", "-1"], ["--pid", "1", "--cgroup", "/x"]):
        with pytest.raises(SystemExit) as stopped:
            doctor.main(["memory", *arguments])
        assert stopped.value.code == 2
    capsys.readouterr()


@linux
def test_a_millpond_is_found_by_its_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for monitoring in (["-m", "-1"], []):
        command = [
            sys.executable, "-m", "millpond", "serve", "-a", "127.0.0.1", "-p", "-1", "-n", "found", *monitoring,
            "-js", "-sd", str(tmp_path / "store"), "--ports_file_dir", str(tmp_path),
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
            assert server.stderr is not None
            while b"Server is ready" not in server.stderr.readline():
                assert server.poll() is None
            try:
                assert doctor.main(["memory", "--pid", str(server.pid), "--seconds", "0"]) == 0
                said = capsys.readouterr().out
                assert doctor_patient.shown(server.pid, command).startswith("millpond  port ")
                assert "named found, data in" in doctor_patient.shown(server.pid, command)
            finally:
                server.terminate()
        if monitoring:
            assert "Python and code  " in said and "connections (0)" not in said, said
        else:
            assert "its budgets are not known: monitoring is off (-m)" in said


def test_ports_are_found_beside_descriptors_that_are_closed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "7" / "fd").mkdir(parents=True)
    (tmp_path / "7" / "net").mkdir()
    (tmp_path / "7" / "fd" / "3").touch()           # no link any more
    (tmp_path / "7" / "fd" / "4").symlink_to("socket:[42]")
    row = "0: 0100007F:107E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 42 1"
    (tmp_path / "7" / "net" / "tcp").write_text(f"  sl  local_address\n{row}\n")
    assert doctor_patient.listening_ports(7, tmp_path) == [4222]


@linux
def test_ports_of_a_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.getsockname()[1] in doctor_patient.listening_ports(os.getpid())
    assert doctor_patient.listening_ports(9_999_999) == []


@linux
def test_a_child_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that holds 40 MiB and whose store directory is on its command line."""
    (tmp_path / "1.blk").write_bytes(b"x" * (2 * MIB))
    script = "import sys; keep = bytearray(b'x') * (40 << 20); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, "-sd", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert doctor.main(["memory", "--pid", str(child.pid), "--seconds", "0.3", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["last"]["anon"] > 40 * MIB
        assert said["last"]["page_cache_own"] == 2 * MIB
        assert doctor.main(["memory", "--pid", str(child.pid), "--seconds", "0"]) == 0
        assert f"(pid {child.pid})" in capsys.readouterr().out
        child.communicate()

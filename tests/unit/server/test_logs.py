"""Where the log goes and what its lines look like."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond.base.errors import OptionError
from millpond.config.options import Options
from millpond.server import logs


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The process' loggers are as before afterwards."""
    both = (logs.log, logging.getLogger("asyncio"))
    kept = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in both]
    yield
    for logger, handlers, propagate, level in kept:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def lines(path: Path) -> list[str]:
    return [line.partition("[")[2].partition("] ")[2] for line in path.read_text().splitlines()]


def test_levels_and_their_tags(tmp_path: Path) -> None:
    path = tmp_path / "log"
    wanted = {
        (False, False): ["INF", "WRN", "ERR", "FTL"],
        (True, False): ["DBG", "INF", "WRN", "ERR", "FTL"],
        (False, True): ["TRC", "INF", "WRN", "ERR", "FTL"],
        (True, True): ["TRC", "DBG", "INF", "WRN", "ERR", "FTL"],
    }
    for (debug, trace), tags in wanted.items():
        logs.configure(Options(log_file=str(path), logtime=False, debug=debug, trace=trace))
        for level in (logs.TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            logs.log.log(level, "text %d", 7)
        assert lines(path) == [f"[{tag}] text 7" for tag in tags]
        path.unlink()


def test_times(tmp_path: Path) -> None:
    record = logging.LogRecord("millpond", logging.INFO, "", 0, "x", None, None)
    record.created = 1_700_000_000.25
    assert logs.LineFormatter(with_time=True, utc=True).format(record).endswith("] 2023/11/14 22:13:20.250000 [INF] x")
    assert logs.LineFormatter(with_time=False, colours=True).format(record).endswith("] [\x1b[32mINF\x1b[0m] x")


def test_a_log_file_is_rotated_and_old_ones_are_purged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.notes").write_text("somebody else's")
    logs.configure(Options(log_file=str(path), logtime=False, log_size_limit=200, log_max_num=3))
    for number in range(60):
        logs.log.info("line %d", number)
    aside = sorted(entry for entry in tmp_path.iterdir() if entry.name.startswith("log.2"))
    assert len(aside) == 2
    assert all(re.fullmatch(r"log\.\d{4}(\.\d\d){5}\.\d{9}", entry.name) for entry in aside)
    assert (tmp_path / "log.notes").exists()
    text = "\n".join(entry.read_text() for entry in (*aside, path))
    numbers = [int(number) for number in re.findall(r"line (\d+)", text)]
    assert numbers == list(range(numbers[0], 60)), "no line is lost between two files"
    assert 'Rotated log, backup saved as "' in path.read_text()
    assert 'Purged log file "log.' in text


def test_reopening_after_a_rename(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs.configure(Options(log_file=str(path), logtime=False))
    logs.log.info("before")
    path.rename(tmp_path / "old")
    logs.log.info("still there")
    logs.reopen()
    assert lines(tmp_path / "old") == ["[INF] before", "[INF] still there"]
    assert lines(path) == ["[INF] File log re-opened"]


def test_a_log_that_cannot_be_had_leaves_the_old_one(tmp_path: Path) -> None:
    logs.configure(Options(log_file=str(tmp_path / "log"), logtime=False))
    with pytest.raises(OptionError, match="Is a directory"):
        logs.configure(Options(log_file=str(tmp_path)))
    for url in ("http://x", "udp://h:x", "tcp://127.0.0.1:1", f"unix://{tmp_path}/no"):
        with pytest.raises(OptionError, match="syslog"):
            logs.configure(Options(remote_syslog=url))
    logs.log.info("still here")
    assert lines(tmp_path / "log") == ["[INF] still here"]


def test_syslog_over_udp_and_a_unix_socket(tmp_path: Path) -> None:
    kind = socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as udp, socket.socket(socket.AF_UNIX, kind) as unix:
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "log"))
        for receiver, url in ((udp, f"udp://127.0.0.1:{udp.getsockname()[1]}"), (unix, f"unix://{tmp_path}/log")):
            receiver.settimeout(5)
            logs.configure(Options(remote_syslog=url))
            logs.log.info("hello %s", "there")
            logs.log.error("bad")
            # Facility daemon (3) times 8, and notice (5) or err (3).
            assert receiver.recv(1000).rstrip(b"\0") == b"<29>nats-server: hello there"
            assert receiver.recv(1000).rstrip(b"\0") == b"<27>nats-server: bad"

"""The log in nats-server's line format, which tools parse:

[pid] 2026/01/01 00:00:00.000000 [INF] text

It goes to stderr, to a file (set aside and begun anew at a size, opened again on USR1), or to syslog. Loggers
are this process' own business: only the command configures them, a `Server` inside a program never does.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

from millpond.base.errors import OptionError
from millpond.config.options import Options

TRACE: Final = 5
TAGS: Final = {
    logging.INFO: "INF",
    logging.WARNING: "WRN",
    logging.ERROR: "ERR",
    logging.CRITICAL: "FTL",
    logging.DEBUG: "DBG",
    TRACE: "TRC",
}
COLOURS: Final = {"INF": "32", "DBG": "36", "WRN": "0;93", "ERR": "31", "FTL": "31", "TRC": "33"}
SYSLOG_PORT: Final = 514
SYSLOG_DEVICES: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
SYSLOG_PRIORITIES: Final = {"INFO": "notice", "WARNING": "warning", "ERROR": "err", "CRITICAL": "crit"}
log: Final = logging.getLogger("millpond")


class LineFormatter(logging.Formatter):
    """One line per record; a traceback follows on its own lines."""

    def __init__(self, *, with_time: bool, utc: bool = False, colours: bool = False) -> None:
        super().__init__()
        self._with_time = with_time
        self._clock = time.gmtime if utc else time.localtime
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        tag = TAGS.get(record.levelno, record.levelname[:3])
        if self._colours:
            tag = f"\x1b[{COLOURS.get(tag, '0')}m{tag}\x1b[0m"
        stamp = ""
        if self._with_time:
            micros = int(record.created % 1 * 1_000_000)
            stamp = f"{time.strftime('%Y/%m/%d %H:%M:%S', self._clock(record.created))}.{micros:06d} "
        return f"[{os.getpid()}] {stamp}[{tag}] {self.text(record)}"

    def text(self, record: logging.LogRecord) -> str:
        """The message, and the traceback if there is one."""
        text = record.getMessage()
        return text + "\n" + self.formatException(record.exc_info) if record.exc_info else text


class SyslogFormatter(LineFormatter):
    """The text alone: syslog adds time, process and level."""

    def format(self, record: logging.LogRecord) -> str:
        return self.text(record)


class LogFile(logging.Handler):
    """Appends to `path`; beyond `size_max` bytes the file is renamed to `path.<time>` and begun anew.

    `kept`: how many files to keep, the current one included; 0: all. Raises OSError when it cannot be opened.
    """

    def __init__(self, path: str, size_max: int = 0, kept: int = 0) -> None:
        super().__init__()
        self.path = path
        self._size_max = size_max
        self._kept = kept
        self._fd = -1
        self._size = 0
        self.reopen()

    def reopen(self) -> None:
        """Go on in the file that bears the name now: after something else has renamed the old one."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
            if self._size_max and self._size > self._size_max:
                self._rotate()
        except Exception:
            self.handleError(record)

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        os.write(self._fd, data)
        self._size += len(data)

    def _rotate(self) -> None:
        now_ns = time.time_ns()
        stamp = time.strftime("%Y.%m.%d.%H.%M.%S", time.localtime(now_ns // 10**9))
        aside = f"{self.path}.{stamp}.{now_ns % 10**9:09d}"
        os.rename(self.path, aside)
        self.reopen()
        self._say(f'Rotated log, backup saved as "{aside}"')
        if self._kept:
            self._purge()

    def _purge(self) -> None:
        folder, name = os.path.split(self.path)
        pattern = re.compile(re.escape(name) + r"\.\d{4}(\.\d\d){5}\.\d{9}")
        aside = sorted(entry for entry in os.listdir(folder or ".") if pattern.fullmatch(entry))
        for entry in aside[: max(0, len(aside) - (self._kept - 1))]:
            os.unlink(os.path.join(folder, entry))
            self._say(f'Purged log file "{entry}"')

    def _say(self, text: str) -> None:
        self._write(self.format(logging.LogRecord(log.name, logging.INFO, "", 0, text, None, None)))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


def configure(options: Options) -> None:
    """Send the `millpond` logger where the options say, at the level they ask for.

    Raises OptionError when that place cannot be had; the log stays as it was then.
    """
    handler = _handler(options)
    if options.trace and not options.debug:
        handler.addFilter(lambda record: record.levelno != logging.DEBUG)
    for logger in (log, logging.getLogger("asyncio")):
        before, logger.handlers[:] = logger.handlers[:], [handler]
        logger.propagate = False
        for old in before:
            old.close()
    log.setLevel(TRACE if options.trace else logging.DEBUG if options.debug else logging.INFO)


def _handler(options: Options) -> logging.Handler:
    handler: logging.Handler
    if not options.log_file and (options.remote_syslog or options.syslog):
        handler = _syslog(options.remote_syslog)
        handler.setFormatter(SyslogFormatter(with_time=False))
        return handler
    if options.log_file:
        try:
            handler = LogFile(options.log_file, options.log_size_limit, options.log_max_num)
        except OSError as error:
            raise OptionError(f"error opening file: open {options.log_file}: {error.strerror}") from None
        colours = False
    else:
        handler = logging.StreamHandler(sys.stderr)
        colours = sys.stderr.isatty()
    handler.setFormatter(LineFormatter(with_time=options.logtime, utc=options.logtime_utc, colours=colours))
    return handler


def _syslog(remote: str) -> logging.Handler:
    """A handler for the local syslog, or the one at `udp://host:port`, `tcp://host:port`, `unix:///path`."""
    import socket
    from logging.handlers import SysLogHandler

    class Syslog(SysLogHandler):
        ident = "nats-server: "

        def mapPriority(self, levelName: str) -> str:
            return SYSLOG_PRIORITIES.get(levelName, "debug")

    address: Any = next((device for device in SYSLOG_DEVICES if Path(device).is_socket()), SYSLOG_DEVICES[0])
    kind = socket.SOCK_DGRAM
    if remote:
        address, kind = _syslog_address(remote)
    if isinstance(address, str) and not Path(address).is_socket():
        raise OptionError(f"error connecting to syslog: there is no socket {address}")
    try:
        return Syslog(address, SysLogHandler.LOG_DAEMON, kind)
    except OSError as error:
        raise OptionError(f"error connecting to syslog at {remote or address}: {error.strerror or error}") from None


def _syslog_address(remote: str) -> tuple[Any, Any]:
    from socket import SOCK_DGRAM, SOCK_STREAM
    from urllib.parse import urlsplit

    url = urlsplit(remote)
    try:
        network = (url.hostname or "localhost", url.port or SYSLOG_PORT)
    except ValueError:
        network = ("", 0)
    if url.scheme not in ("udp", "tcp", "unix") or not network[0]:
        raise OptionError(f"invalid syslog address {remote!r}; write udp://host:port, tcp://host:port or unix:///path")
    return url.path if url.scheme == "unix" else network, SOCK_STREAM if url.scheme == "tcp" else SOCK_DGRAM


def reopen() -> None:
    """Go on in a new log file after the old one was renamed."""
    files = [handler for handler in log.handlers if isinstance(handler, LogFile)]
    for handler in files:
        handler.reopen()
    log.info("File log re-opened" if files else "File log re-open ignored, not a file logger")


def fatal(text: str) -> None:
    """A `[FTL]` line; the caller ends the process."""
    log.critical("%s", text)

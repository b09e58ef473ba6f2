"""The log in nats-server's line format, which tools parse:

[pid] 2026/01/01 00:00:00.000000 [INF] text
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Final

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
log: Final = logging.getLogger("millpond")


class LineFormatter(logging.Formatter):
    """One line per record; a traceback follows on its own lines."""

    def __init__(self, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        tag = TAGS.get(record.levelno, record.levelname[:3])
        stamp = ""
        if self._with_time:
            moment = time.localtime(record.created)
            micros = int(record.created % 1 * 1_000_000)
            stamp = f"{time.strftime('%Y/%m/%d %H:%M:%S', moment)}.{micros:06d} "
        text = f"[{os.getpid()}] {stamp}[{tag}] {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(options: Options) -> None:
    """Send the `millpond` logger to stderr or to the file, at the level that the options ask for."""
    handler: logging.Handler
    if options.log_file:
        handler = logging.FileHandler(options.log_file, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(options.logtime))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(TRACE if options.trace else logging.DEBUG if options.debug else logging.INFO)


def fatal(text: str) -> None:
    """A `[FTL]` line; the caller ends the process."""
    log.critical("%s", text)

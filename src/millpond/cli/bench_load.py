"""`millpond bench <kind>`: one load on this server, on another beside it, or on one that runs already."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from millpond.bench import process, report
from millpond.bench.loop import LoadError
from millpond.bench.process import Process, ServerError
from millpond.bench.scenarios import KINDS, Load, Result, run

INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 measured; 1 operations failed or a server did; 2 wrong usage; 130 interrupted."""
    given = _parser().parse_args(argv)
    load = _load(given)
    rows: list[tuple[str, Result]] = []
    try:
        for name, opened in _servers(given):
            with opened as server:
                rows.append((name, run(server, load)))
    except (ServerError, LoadError, OSError) as error:
        print(f"millpond bench {load.kind}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    print(report.as_json(load, rows) if given.json else report.table(load, rows))
    return 1 if any(result.failures for _, result in rows) else 0


def _servers(given: argparse.Namespace) -> Iterator[tuple[str, AbstractContextManager[Process]]]:
    """Name and server, started when it is entered."""
    if given.server:
        yield given.server, nullcontext(process.at(given.server, given.pid, given.tls))
        return
    yield "millpond", process.StartedServer(process.own("--sync", given.sync, tls=given.tls), given.dir)
    if given.against:
        spec = process.foreign(given.against, tls=given.tls)
        yield spec.name, process.StartedServer(spec, given.dir)


def _load(given: argparse.Namespace) -> Load:
    return Load(
        kind=given.kind, size=given.size, window=max(given.window, given.connections), connections=given.connections,
        receivers=given.receivers, queue=given.queue, storage=given.storage, acks=given.acks, batch=given.batch,
        distinct=given.distinct, release=given.release, seconds=given.seconds, messages=given.messages,
        streams=given.streams, apart=given.apart, filled=given.filled,
    )  # fmt: skip


def _kinds() -> str:
    lines = [f"  {name:12}{kind.__doc__}" for name, kind in KINDS.items()]
    return "kinds of load:\n" + "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="millpond bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rate, latency, and what an operation costs the server in CPU time.",
        epilog=_kinds() + "\n\nTry: millpond bench js-publish --window 1000 --storage memory --against nats-server",
    )
    parser.add_argument("kind", choices=list(KINDS), metavar="kind")
    load = parser.add_argument_group("load")
    load.add_argument("--size", type=_count, default=128, help="bytes of payload (default 128)")
    load.add_argument("--window", type=_positive, default=1, help="operations in flight (default 1)")
    load.add_argument("--connections", type=_positive, default=1, help="spread over so many connections (default 1)")
    load.add_argument("--receivers", type=_positive, default=1, help="fan: subscribers; deliver: consumers (default 1)")
    load.add_argument("--apart", action="store_true", help="deliver: each consumer filters a subject of its own")
    load.add_argument("--streams", type=_positive, default=1, help="js-publish: streams in turn (default 1)")
    load.add_argument("--queue", action="store_true", help="fan: the subscribers are one queue group")
    load.add_argument("--storage", choices=("memory", "file"), default="file", help="of streams (default file)")
    load.add_argument("--acks", action="store_true", help="fetch, consume: acknowledge every message")
    load.add_argument("--batch", type=_positive, default=256, help="fetch: messages per pull (default 256)")
    load.add_argument("--distinct", type=_count, default=0, help="subjects or keys (default one, buckets 1000)")
    load.add_argument("--filled", action="store_true", help="js-publish: each subject holds a message before")
    load.add_argument("--release", choices=("delete", "purge"), default="delete", help="locks: how to release")
    load.add_argument("--seconds", type=_seconds, default=2.0, help="how long (default 2)")
    load.add_argument("--messages", type=_count, default=0, help="at most so many operations")
    servers = parser.add_argument_group("servers (without any: a millpond is started, with a store of its own)")
    servers.add_argument("--against", metavar="PROGRAM", help="measure this server as well, for example nats-server")
    servers.add_argument("--server", metavar="HOST:PORT", help="measure this running server and start none")
    servers.add_argument("--pid", type=_count, default=0, help="its process id, for CPU time and RSS")
    servers.add_argument("--tls", action="store_true", help="over TLS; a started server gets a certificate")
    servers.add_argument("--sync", choices=("always", "interval", "never"), default="always",
                         help="of the started millpond (default always: fdatasync before each ack)")  # fmt: skip
    servers.add_argument("--dir", help="where started servers keep their stores (default: the temporary directory)")
    parser.add_argument("--json", action="store_true", help="everything that was measured, for programs")
    return parser


def _count(text: str) -> int:
    value = int(text.replace(",", ""))
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _positive(text: str) -> int:
    value = _count(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError("choose 0.05 to 3600 seconds")
    return value

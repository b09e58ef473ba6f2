"""The rows of docs/performance.md: which loads, on which servers, against which."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec

from millpond.bench.process import ServerSpec, foreign, own
from millpond.bench.scenarios import Load

OURS, OURS_INTERVAL, OURS_TLS = "ours", "ours interval", "ours tls"
THEIRS, THEIRS_ALWAYS, THEIRS_TLS = "theirs", "theirs always", "theirs tls"
BARE, BARE_SYNC = "bare", "bare sync"


def servers() -> dict[str, ServerSpec]:
    """Every server and its way of syncing. Their default writes and syncs every two minutes."""
    bare = [sys.executable, str(Path(__file__).with_name("bare.py"))]
    return {
        BARE: ServerSpec(name="a program that only reads", command=bare),
        BARE_SYNC: ServerSpec(name="a program that only syncs", command=[*bare, "--sync"]),
        OURS: own("--sync", "always", name="millpond"),
        OURS_INTERVAL: own("--sync", "interval", name="millpond --sync interval"),
        OURS_TLS: own(name="millpond with TLS", tls=True),
        THEIRS: foreign(),
        THEIRS_ALWAYS: foreign(config="jetstream { sync_interval: always }\n", name="nats-server sync_interval always"),
        THEIRS_TLS: foreign(name="nats-server with TLS", tls=True),
    }


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One load. quick: also in the short form. seconds: as long as this at most; 0: as long as all others."""

    title: str
    load: Load
    quick: bool = False
    seconds: float = 0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under one heading, each measured on both sides of every pair. A pair: (heading, ours, theirs)."""

    title: str
    rows: list[Row]
    pairs: tuple[tuple[str, str, str], ...] = (("", OURS, THEIRS),)

    @property
    def servers(self) -> list[str]:
        """Names, each once."""
        return list(dict.fromkeys(name for _, *pair in self.pairs for name in pair))


CORE: Final = Table(
    title="Core NATS",
    rows=[
        Row(title="publish 16 B", load=Load(kind="pub", size=16)),
        Row(title="publish 128 B", load=Load(kind="pub"), quick=True),
        Row(title="publish 1 KiB", load=Load(kind="pub", size=1024)),
        Row(title="publish 4 KiB", load=Load(kind="pub", size=4096)),
        Row(title="publish 16 KiB", load=Load(kind="pub", size=16384), quick=True),
        Row(title="publish 64 KiB", load=Load(kind="pub", size=65536)),
        Row(title="publish 1 MiB", load=Load(kind="pub", size=2**20)),
        Row(title="one to one, 16 B", load=Load(kind="fan", size=16)),
        Row(title="one to one, 128 B", load=Load(kind="fan"), quick=True),
        Row(title="one to four, 128 B", load=Load(kind="fan", receivers=4), quick=True),
        Row(title="queue group of four, 128 B", load=Load(kind="fan", receivers=4, queue=True)),
        Row(title="request and reply, 1 in flight", load=Load(kind="request"), quick=True),
        Row(title="request and reply, 64 in flight", load=Load(kind="request", window=64), quick=True),
        Row(title="64 connections, a request each", load=Load(kind="request", window=64, connections=64)),
        Row(title="512 connections, a request each", load=Load(kind="request", window=512, connections=512)),
    ],
)
TLS: Final = Table(
    title="Core NATS over TLS 1.3",
    rows=[
        Row(title="publish 128 B", load=Load(kind="pub"), quick=True),
        Row(title="publish 16 KiB", load=Load(kind="pub", size=16384)),
        Row(title="one to one, 128 B", load=Load(kind="fan")),
        Row(title="request and reply, 1 in flight", load=Load(kind="request")),
        Row(title="request and reply, 64 in flight", load=Load(kind="request", window=64)),
    ],
    pairs=(("", OURS_TLS, THEIRS_TLS),),
)


def publishes(storage: str) -> list[Row]:
    def row(title: str, quick: bool = False, **settings: int) -> Row:
        return Row(title=title, load=Load(kind="js-publish", storage=storage, **settings), quick=quick)

    return [
        row("publish, 1 in flight", True, window=1),
        row("publish, 64 in flight", window=64),
        row("publish, 1,000 in flight", True, window=1000),
        row("publish, 4,000 in flight", window=4000),
        row("64 connections, a publish each", True, window=64, connections=64),
        row("512 connections, a publish each", window=512, connections=512),
        row("publish on 100,000 subjects", window=1000, distinct=100_000, messages=100_000),
        row("publish on 1,000,000 subjects", window=1000, distinct=1_000_000, messages=1_000_000),
    ]


def consumption(storage: str) -> list[Row]:
    def row(title: str, kind: str, acks: bool, quick: bool = False) -> Row:
        return Row(title=title, load=Load(kind=kind, storage=storage, acks=acks, messages=200_000), quick=quick)

    return [
        row("fetch 256, no acks", "fetch", False),
        row("fetch 256, each acked", "fetch", True, True),
        row("push, ordered", "consume", False, True),
        row("push, each acked", "consume", True),
    ]


def buckets_and_locks(storage: str) -> list[Row]:
    def row(title: str, kind: str, window: int, release: str = "delete", quick: bool = False) -> Row:
        return Row(title=title, load=Load(kind=kind, storage=storage, window=window, release=release), quick=quick)

    return [
        row("KV put, 64 in flight", "kv-put", 64),
        row("KV get, 64 in flight", "kv-get", 64, quick=True),
        row("KV compare and set, 64 in flight", "kv-cas", 64),
        row("lock: take, delete; 1 in flight", "locks", 1),
        row("lock: take, delete; 32 in flight", "locks", 32, quick=True),
        row("lock: take, purge; 32 in flight", "locks", 32, "purge"),
    ]


MEMORY: Final = Table(
    title="JetStream, memory streams",
    rows=[*publishes("memory"), *consumption("memory"), *buckets_and_locks("memory")],
)
FILE: Final = Table(
    title="JetStream, file streams",
    rows=[*publishes("file"), *consumption("file"), *buckets_and_locks("file")],
    pairs=(
        ("Both durable: an answer follows fdatasync (`sync_interval: always` there)", OURS, THEIRS_ALWAYS),
        ("Our durable default against their default, which syncs every two minutes", OURS, THEIRS),
        ("Neither waits for the disk: `--sync interval` against their default", OURS_INTERVAL, THEIRS),
    ),
)
TABLES: Final = [CORE, TLS, MEMORY, FILE]


def subjects(storage: str) -> Row:
    load = Load(kind="js-publish", storage=storage, window=1000, distinct=1_000_000, messages=1_000_000)
    return Row(title=f"subjects, {storage}", load=load, seconds=120)


PROCESS: Final = Table(
    title="The process",
    rows=[
        Row(title="idle connections", load=Load(kind="idle", connections=5000), quick=True),
        subjects("memory"),
        subjects("file"),
    ],
)
"""What the table about the process takes from no other row: by how much RSS has grown."""

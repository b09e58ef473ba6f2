"""The rows of docs/performance.md that say how costs grow: one table for each thing of which there may be many."""

from __future__ import annotations

from typing import Final

from rows import OURS, OURS_INTERVAL, THEIRS, THEIRS_ALWAYS, Row, Table

from millpond.bench.scenarios import Load

FILE_PAIRS: Final = (
    ("neither waits for the disk", OURS_INTERVAL, THEIRS),
    ("both durable", OURS, THEIRS_ALWAYS),
)


def rows(field: str, values: tuple[int, ...], **settings: object) -> list[Row]:
    """The same load with another value of one setting in each row."""
    loads = [Load(**{**settings, field: value}) for value in values]  # type: ignore[arg-type]
    return [Row(title=size(value) if field == "size" else f"{value:,}", load=load)
            for value, load in zip(values, loads, strict=True)]  # fmt: skip


def size(value: int) -> str:
    """Of a payload, as it is written."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if value >= unit:
            return f"{value // unit} {name}"
    return f"{value} B"


def connections() -> list[Row]:
    """Each asks, and waits for its answer."""
    counts = (1, 10, 100, 1000, 5000)
    return [Row(title=f"{n:,}", load=Load(kind="request", window=n, connections=n)) for n in counts]


MANY: Final = (1, 1000, 100_000, 1_000_000)
SIZES: Final = (16, 256, 4096, 65_536, 2**20)
GROWTH: Final = [
    Table(title="Connections: each with a request in flight", rows=connections()),
    Table(
        title="Subscriptions: one to one, 16 B, on each subject in turn",
        rows=rows("distinct", MANY, kind="fan", size=16),
    ),
    Table(
        title="Subjects of a memory stream: publish, 1,000 in flight",
        rows=rows("distinct", MANY, kind="js-publish", window=1000, storage="memory", filled=True),
    ),
    Table(
        title="Subjects of a file stream: publish, 1,000 in flight",
        rows=rows("distinct", MANY, kind="js-publish", window=1000, storage="file", filled=True),
        pairs=FILE_PAIRS[:1],
    ),
    Table(
        title="Memory streams: publish into each in turn, 1,000 in flight",
        rows=rows("streams", (1, 10, 100, 1000), kind="js-publish", window=1000, storage="memory"),
    ),
    Table(
        title="File streams: publish into each in turn, 1,000 in flight",
        rows=rows("streams", (1, 10, 100, 1000), kind="js-publish", window=1000, storage="file"),
        pairs=FILE_PAIRS,
    ),
    Table(
        title="Consumers of one stream: each gets every message (an operation is a delivery), 16 in flight",
        rows=rows("receivers", (1, 10, 100, 1000), kind="deliver", window=16, storage="memory"),
    ),
    Table(
        title="Consumers of one stream: each gets a subject of its own, 100 in flight",
        rows=rows("receivers", (1, 10, 100, 1000), kind="deliver", window=100, storage="memory", apart=True),
    ),
    Table(title="Payload: one to one", rows=rows("size", SIZES, kind="fan")),
    Table(
        title="Payload: publish into a file stream, 16 in flight",
        rows=rows("size", SIZES, kind="js-publish", window=16, storage="file"),
        pairs=FILE_PAIRS[:1],
    ),
]

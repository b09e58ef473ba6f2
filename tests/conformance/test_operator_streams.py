"""Streams of accounts that are known by their claims: limits, tiers, and what comes back after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from millpond.accounts import claims as c
from tests.jwt_rig import Account

from .operator_rig import Visitor, World, both_with, same
from .tls_rig import TlsTarget

pytestmark = pytest.mark.reference

MIB = 1 << 20
WORLD = World()
ALL = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
ACCOUNTS = {
    "everything": WORLD.account("everything", limits=ALL),
    "nothing": WORLD.account("nothing"),
    "little": WORLD.account("little", limits={
        "mem_storage": MIB, "disk_storage": MIB, "streams": 1, "consumer": 2, "max_ack_pending": 5,
        "disk_max_stream_bytes": 1000, "max_bytes_required": True}),
    "no_disk": WORLD.account("no_disk", limits={"mem_storage": MIB, "streams": 5, "consumer": -1}),
    "tiered": WORLD.account("tiered", limits={"tiered_limits": {
        "R1": c.StreamLimits(disk_storage=MIB, mem_storage=MIB, streams=1, consumer=-1),
        "R3": c.StreamLimits(disk_storage=2 * MIB, mem_storage=-1, streams=2, consumer=-1)}}),
    "no_tier": WORLD.account("no_tier", limits={"tiered_limits": {"R3": c.StreamLimits(disk_storage=MIB)}}),
}  # fmt: skip
USERS = {name: WORLD.user(account, f"u {name}") for name, account in ACCOUNTS.items()}


def enter(target: TlsTarget, name: str) -> Visitor:
    return Visitor(target, WORLD.names).info().enter(USERS[name])


def ask(peer: Visitor, verb: str, **body: Any) -> str:
    found = json.loads(peer.ask(f"$JS.API.{verb}", json.dumps(body).encode() if body else b""))
    for name in ("created", "ts", "cluster", "api"):
        found.pop(name, None)
    return WORLD.names.named(json.dumps(found))


def stream(name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "subjects": [f"{name}.>"], "storage": "file", **config}


def each(target: TlsTarget, name: str) -> list[str]:
    peer = enter(target, name)
    lines = [ask(peer, "INFO")]
    lines += [ask(peer, f"STREAM.CREATE.{each}", **stream(each, storage=storage)) for each, storage in (
        ("A", "file"), ("B", "memory"), ("C", "file"))]  # fmt: skip
    lines.append(ask(peer, "STREAM.CREATE.D", **stream("D", max_bytes=500)))
    lines.append(ask(peer, "STREAM.CREATE.E", **stream("E", max_bytes=5000)))
    lines.append(ask(peer, "STREAM.CREATE.F", **stream("F", num_replicas=3)))
    lines += [ask(peer, "INFO"), ask(peer, "STREAM.NAMES")]
    return lines


def updated(target: TlsTarget, account: Account) -> list[str]:
    """Streams are allowed, then less of them, then none."""
    admin, peer = Visitor(target, WORLD.names).info().enter(WORLD.admin), enter(target, "nothing")
    lines = []
    for limits in ({**ALL, "streams": 1}, {**ALL, "streams": 2}, {"streams": 1}):
        admin.ask(f"$SYS.REQ.ACCOUNT.{account.public}.CLAIMS.UPDATE", account.token(limits=limits).encode())
        lines += [ask(peer, "INFO"), ask(peer, "STREAM.CREATE.X", **stream("X"))]
        lines.append(ask(peer, "STREAM.CREATE.Y", **stream("Y")))
    return lines


@pytest.fixture(scope="module")
def both() -> Iterator[list[TlsTarget]]:
    with both_with(lambda target: WORLD.config(f'jetstream {{ store_dir: "{target.root}/store" }}')) as found:
        yield found


@pytest.mark.parametrize("name", [name for name in ACCOUNTS if name != "nothing"])
def test_limits(both: list[TlsTarget], name: str) -> None:
    same(*(each(target, name) for target in both))


def test_updates(both: list[TlsTarget]) -> None:
    same(*(updated(target, ACCOUNTS["nothing"]) for target in both))


def test_streams_are_there_after_a_restart(both: list[TlsTarget]) -> None:
    for target in both:
        enter(target, "everything").ask("$JS.API.STREAM.CREATE.K", json.dumps(stream("K")).encode())
        target.restart()
    same(*([ask(enter(target, "everything"), "STREAM.NAMES")] for target in both))

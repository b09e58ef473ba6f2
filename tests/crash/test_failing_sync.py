"""A sync that fails: that stream refuses, is marked and never syncs the same pages again; the others go on."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from .campaign import Server
from .check import read
from .load import STREAMS
from .test_power_cut import library
from .wire import Message, Wire

NO_ROOM = b'"err_code":10047'
SAID = "cannot sync"

LINUX = pytest.mark.skipif(os.uname().sysname != "Linux", reason="makes syncs fail by LD_PRELOAD")


Before, After = Callable[[Server, Path], Awaitable[None]], Callable[[Server], Awaitable[None]]


def live(folder: Path, expected: str, before: Before, after: After) -> None:
    """`before` on a server whose syncs fail as its control file says, a kill, and `after` on a disk that is well."""
    control = folder / "control"
    server = Server(folder, "always", expected=expected, more=("-m", "-1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library(folder, "disk_fail.c")))
        patch.setenv("FAIL_CONTROL", str(control))
        server.start()
    try:
        asyncio.run(asyncio.wait_for(before(server, control), 60))
        server.kill()
        server.reap()
        server.start()
        asyncio.run(asyncio.wait_for(after(server), 60))
        server.stop()
    finally:
        server.reap()


def healthz(port: int, query: str = "") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz{query}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def load(server: Server, control: Path) -> None:
    wire = await Wire.open(server.port, "fail")
    for configuration in STREAMS[:2]:
        body = json.dumps({**configuration, "max_msgs_per_subject": -1}).encode()
        assert b'"error"' not in (await wire.request(f"$JS.API.STREAM.CREATE.{configuration['name']}", body)).payload
    for number in range(1, 11):
        for subject in ("log.a", "last.a"):
            assert b'"seq":%d' % number in (await wire.request(subject, b"%d" % number)).payload
    assert healthz(server.http_port)[0] == 200
    control.write_text(f"{errno.EIO} streams/0000/log.")
    assert NO_ROOM in (await wire.request("log.a", b"never promised")).payload
    control.unlink()
    assert NO_ROOM in (await wire.request("log.a", b"refused")).payload
    deleted = await wire.request("$JS.API.STREAM.MSG.DELETE.LOG", b'{"seq":3}')
    assert b"cannot sync" in deleted.payload
    assert b'"seq":11' in (await wire.request("last.a", b"11")).payload, "another stream goes on"
    status, page = healthz(server.http_port)
    assert status == 503
    assert "LOG" in page
    assert "cannot sync" in page
    found = await read(server.port, wire, "LOG")
    assert [found.messages[seq][1] for seq in range(1, 11)] == [b"%d" % seq for seq in range(1, 11)], "reads go on"
    assert len(Path(f"{control}.seen").read_text().splitlines()) == 1, "the same pages are never synced again"
    wire.close()


async def check(server: Server) -> None:
    wire = await Wire.open(server.port, "check")
    for name, least in (("LOG", 10), ("LAST", 11)):
        found = await read(server.port, wire, name)
        assert [found.messages[seq][1] for seq in range(1, least + 1)] == [b"%d" % seq for seq in range(1, least + 1)]
        assert {body for _, body in found.messages.values()} <= {b"%d" % seq for seq in range(12)} | {b"never promised"}
        answer = await wire.request(f"{name.lower()}.a", b"after")
        assert b'"seq":%d' % (found.last_seq + 1) in answer.payload
    wire.close()


@LINUX
def test_a_failed_sync_ends_one_stream_and_no_other(tmp_path: Path) -> None:
    live(tmp_path, SAID, load, check)


REQUESTS = {
    "STREAM.PURGE.{}": (b"", 10110),
    "STREAM.PURGE.{} ": (b'{"filter":"%s.b"}', 10110),     # C buffers take care of this
    "STREAM.MSG.DELETE.{}": (b'{"seq":1}', 10057),         # and of this
    "STREAM.MSG.DELETE.{} ": (b'{ "seq" : 1 }', 10057),
    "CONSUMER.DURABLE.CREATE.{0}.NEW": (b'{"stream_name":"%s","config":{"durable_name":"NEW"}}', 10012),
    "CONSUMER.DELETE.{}.C": (b"", 10051),
    "CONSUMER.PAUSE.{}.C": (b'{"pause_until":"2100-01-01T00:00:00Z"}', 10104),
    "CONSUMER.RESET.{}.C": (b"", 10104),
}
"""What waits for the disk, and the code that it is answered with when the disk fails."""


async def prepared(wire: Wire, name: str) -> None:
    """A stream with three messages and a consumer, but for the second one."""
    stream = {"name": name, "subjects": [f"{name}.*"], "storage": "file"}
    consumer = {"stream_name": name, "config": {"durable_name": "C", "ack_policy": "explicit"}}
    made = {f"STREAM.CREATE.{name}": stream, f"CONSUMER.DURABLE.CREATE.{name}.C": consumer}
    for verb, body in list(made.items())[: 1 if name == "S1" else 2]:
        assert b'"error"' not in (await wire.request(f"$JS.API.{verb}", json.dumps(body).encode())).payload
    for last in "aab":
        assert b'"seq"' in (await wire.request(f"{name}.{last}", b"x")).payload


async def refused_requests(server: Server, control: Path) -> None:
    delivered: asyncio.Queue[Message] = asyncio.Queue()
    wire = await Wire.open(server.port, "fail", delivered.put_nowait)
    names = [f"S{number}" for number in range(len(REQUESTS) + 1)]
    for name in names:
        await prepared(wire, name)
    wire.publish(f"$JS.API.CONSUMER.MSG.NEXT.{names[-1]}.C", b"", wire.inbox("next"))
    unconfirmed = (await delivered.get()).reply
    control.write_text(f"{errno.EIO} streams/")
    for name, (verb, (body, code)) in zip(names, REQUESTS.items(), strict=False):
        asked = body.replace(b"%s", name.encode())
        answer = json.loads((await wire.request(f"$JS.API.{verb.format(name).strip()}", asked)).payload)
        assert answer["error"]["err_code"] == code, (verb, answer)
        status, page = healthz(server.http_port, f"?account=$G&stream={name}")
        assert (status, name in page) == (503, True), page
        again = json.loads((await wire.request(f"$JS.API.{verb.format(name).strip()}", asked)).payload)
        assert "error" in again, (verb, again)
    # An acknowledgement that is not on the disk is not confirmed; what is asked behind it is answered.
    heard = delivered.qsize()
    wire.publish(unconfirmed, b"+ACK", wire.inbox("confirmed"))
    pause = f"$JS.API.CONSUMER.PAUSE.{names[-1]}.C"
    for _ in range(2):
        assert b'"err_code":10104' in (await wire.request(pause, b'{"pause_until":"2100-01-01T00:00:00Z"}')).payload
    assert delivered.qsize() == heard
    info = json.loads((await wire.request(f"$JS.API.CONSUMER.INFO.{names[-1]}.C", b"")).payload)
    assert "paused" not in info, "a change that cannot be kept is taken back"
    new = list(REQUESTS).index("CONSUMER.DURABLE.CREATE.{0}.NEW")
    assert b'"err_code":10014' in (await wire.request(f"$JS.API.CONSUMER.INFO.S{new}.NEW", b"")).payload
    wire.close()


async def nothing_changed(server: Server) -> None:
    """What was refused did not happen, or did: but nothing else is different."""
    wire = await Wire.open(server.port, "check")
    for number, verb in enumerate(REQUESTS):
        info = json.loads((await wire.request(f"$JS.API.STREAM.INFO.S{number}", b"")).payload)
        assert info["state"]["last_seq"] == 3
        assert info["state"]["messages"] == 3 or "PURGE" in verb or "MSG.DELETE" in verb
        assert b'"seq":4' in (await wire.request(f"S{number}.a", b"after")).payload
    wire.close()


@LINUX
def test_who_waits_for_a_disk_that_fails_is_told(tmp_path: Path) -> None:
    live(tmp_path, "cannot ", refused_requests, nothing_changed)


async def come_and_go(server: Server, control: Path) -> None:
    """Whose creation, or deletion, cannot be made certain."""
    wire = await Wire.open(server.port, "fail")

    async def asked(verb: str, name: str) -> bytes:
        body = json.dumps({"name": name, "subjects": [name]}).encode() if verb == "CREATE" else b""
        return (await wire.request(f"$JS.API.STREAM.{verb}.{name}", body)).payload

    assert b'"did_create"' in await asked("CREATE", "STAYS")
    control.write_text(f"{errno.EIO} streams/0001/stream.")
    assert b'"err_code":10077' in await asked("CREATE", "NEVER")
    assert b'"err_code":10059' in await asked("INFO", "NEVER")
    control.unlink()
    assert b'"did_create"' in await asked("CREATE", "GOES")
    control.write_text(f"{errno.EIO} streams/0000")
    assert b'"err_code":10050' in await asked("DELETE", "STAYS")
    control.unlink()
    assert b'"err_code":10059' in await asked("INFO", "STAYS")
    assert b'"success":true' in await asked("DELETE", "GOES")
    assert b'"did_create"' in await asked("CREATE", "STAYS"), "a new one, that the next start tells from the former"
    assert b'"seq":1' in (await wire.request("STAYS", b"1")).payload
    wire.close()


async def came_and_went(server: Server) -> None:
    wire = await Wire.open(server.port, "check")
    names = json.loads((await wire.request("$JS.API.STREAM.NAMES", b"")).payload)
    assert names["streams"] == ["STAYS"]
    info = json.loads((await wire.request("$JS.API.STREAM.INFO.STAYS", b"")).payload)
    assert info["state"]["messages"] == 1
    wire.close()


@LINUX
def test_a_failed_sync_of_a_creation_or_a_deletion_is_told_and_is_no_other_streams(tmp_path: Path) -> None:
    live(tmp_path, os.strerror(errno.EIO), come_and_go, came_and_went)

"""Health of streams on disk: what could not be brought back, and what can no longer write."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import millpond
from millpond.monitor.healthz import HealthzOptions, healthz

CONFIG = b'{"name":"S","subjects":["s"],"storage":"file"}'


async def make_stream(server: millpond.Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b'CONNECT {"verbose":false}\r\nSUB r 1\r\n')
    writer.write(b"PUB $JS.API.STREAM.CREATE.S r %d\r\n%s\r\n" % (len(CONFIG), CONFIG))
    assert b'"did_create":true' in await reader.readuntil(b'"did_create":true}')
    writer.close()


def health(server: millpond.Server, **options: object) -> tuple[int, dict[str, object]]:
    return healthz(server.view, HealthzOptions(**options))  # type: ignore[arg-type]


def run(scenario: object) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))  # type: ignore[arg-type]


def test_a_stream_that_cannot_be_read_is_unhealthy(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            await make_stream(server)
            assert health(server) == (200, {"status": "ok"})
            assert health(server, account="$G", stream="S") == (200, {"status": "ok"})
        for path in tmp_path.rglob("stream.*"):
            path.write_bytes(b"x" * path.stat().st_size)
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            status, page = health(server)
            assert (status, page["status"]) == (503, "unavailable")
            assert str(page["error"]).endswith("could not be recovered")
            assert health(server, js_enabled_only=True)[0] == health(server, js_server_only=True)[0] == 200

    run(scenario())


def test_a_stream_that_cannot_write_is_unhealthy(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            await make_stream(server)

            class Broken:
                name, failure = "S", "no space left on device"

            streams = server.view.jetstream.accounts["$G"].engine.streams
            streams["S"], kept = Broken(), streams["S"]
            status, page = health(server, details=True)
            streams["S"] = kept
            text = "JetStream stream '$G > S' write error: no space left on device"
            assert (status, page["status"]) == (503, "error")
            assert page["errors"] == [{"type": "STREAM", "account": "$G", "stream": "S", "error": text}]

    run(scenario())


@pytest.mark.parametrize(("options", "status"), [({"stream": "S"}, 400), ({"consumer": "C"}, 400)])
def test_bad_questions(options: dict[str, str], status: int) -> None:
    server = millpond.Server(jetstream=False)
    found, page = health(server, **options)
    assert (found, json.dumps(page)[:18]) == (status, '{"status": "error"')

"""nats.js, over TCP and over WebSocket, comes in by the same ways through the same transports as nats-py.

`make client-js` installs the client from npm into build/ and runs these tests; nothing is downloaded here.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conformance.target import MILLPOND

from .ways import CELLS, MUTUAL, OLD_AIOHTTP, REFUSED, SECURE, VIOLATION, Cell, Servers, Spec, running

pytestmark = [pytest.mark.slow, OLD_AIOHTTP]

PACKAGES = Path(__file__).parents[2] / "build" / "client-js"
SCRIPT = Path(__file__).parent / "js" / "visit.js"
VISIT_S_MAX = 30


def _why_missing() -> str | None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            return f"no {tool} on PATH (Node.js 20 or later)"
    installed, wanted = PACKAGES / "package.json", SCRIPT.with_name("package.json")
    if not (PACKAGES / "node_modules").is_dir() or installed.read_bytes() != wanted.read_bytes():
        return "the client is not installed in build/client-js (make client-js)"
    return None


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    if (reason := _why_missing()) is not None:
        pytest.skip(reason)
    yield from running(tmp_path_factory.mktemp("ways"))


async def visit(spec: Spec) -> dict[str, Any]:
    """What a client in a process of its own comes back with."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", SCRIPT, PACKAGES, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        asked = process.communicate(msgspec.json.encode(spec))
        out, errors = await asyncio.wait_for(asked, VISIT_S_MAX)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    found: dict[str, Any] = msgspec.json.decode(out)
    return found


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_let_in(servers: Servers, cell: Cell) -> None:
    async with servers.serving(cell):
        assert await visit(servers.spec(cell)) == {"done": servers.done_by(cell)}


@pytest.mark.parametrize("cell", REFUSED, ids=str)
async def test_refused(servers: Servers, cell: Cell) -> None:
    async with servers.serving(cell):
        refused = (await visit(servers.spec(cell, wrong=True)))["refused"]
        assert refused.startswith("AuthorizationError") and VIOLATION in refused


@pytest.mark.parametrize("transport", SECURE)
async def test_a_server_that_is_not_trusted(servers: Servers, transport: str) -> None:
    refused = (await visit(servers.distrusting(transport)))["refused"]
    shows_its_authority = servers.kind == MILLPOND and transport in MUTUAL  # docs/differences.md, tls-chain
    assert ("SELF_SIGNED_CERT_IN_CHAIN" if shows_its_authority else "UNABLE_TO_VERIFY_LEAF_SIGNATURE") in refused


@pytest.mark.parametrize("transport", MUTUAL)
async def test_no_certificate(servers: Servers, transport: str) -> None:
    refused = (await visit(servers.without_certificate(transport)))["refused"]
    assert "CERTIFICATE_REQUIRED" in refused

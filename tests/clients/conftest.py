"""One server process for all client tests; coroutine tests run in an event loop of their own.

`MILLPOND_CLIENT_TARGET=nats-server` runs the same tests against the reference, to show that they are true.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import nats
import pytest
from nats.js import JetStreamContext

from tests.conformance.target import MILLPOND, Target, why_missing

TEST_SECONDS = 60
STORAGES = ("memory", "file")


class Server:
    """The running executable, as tests see it."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @asynccontextmanager
    async def js(self) -> AsyncIterator[JetStreamContext]:
        """A connected client; every stream is gone when it is left."""
        client = await nats.connect(self.target.url)
        context = client.jetstream()
        try:
            yield context
        finally:
            for info in await context.streams_info():
                await context.delete_stream(info.config.name)
            await client.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    kind = os.environ.get("MILLPOND_CLIENT_TARGET", MILLPOND)
    if (reason := why_missing(kind)) is not None:
        pytest.skip(reason)
    target = Target(kind).start()
    yield Server(target)
    target.discard()


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), TEST_SECONDS))
    return True

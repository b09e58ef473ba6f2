"""Where a server listens: every address is those of IPv4 and of IPv6."""

from __future__ import annotations

import _socket
import asyncio
import errno
import json
import socket

import pytest

import millpond
from millpond.transport import binding


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


async def told_ip(host: str, port: int) -> str:
    """The address that the server sees."""
    reader, writer = await asyncio.open_connection(host, port)
    told = json.loads((await reader.readline())[5:])["client_ip"]
    writer.close()
    return str(told)


@needs_ipv6
@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_every_address_is_both(host: str) -> None:
    async def main() -> None:
        async with millpond.Server(host=host, jetstream=False, http_port=-1) as server:
            assert await told_ip("127.0.0.1", server.port) == "127.0.0.1"
            assert await told_ip("::1", server.port) == "::1"
            assert server.monitor_url
            http_port = int(server.monitor_url.rpartition(":")[2])
            for address in ("127.0.0.1", "::1"):
                reader, writer = await asyncio.open_connection(address, http_port)
                writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert b"200" in await reader.readline()
                writer.close()

    asyncio.run(main())


@needs_ipv6
@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_one_address_is_one(host: str, other: str) -> None:
    async def main() -> None:
        async with millpond.Server(host=host, jetstream=False) as server:
            assert await told_ip(host, server.port) == host
            with pytest.raises(OSError):
                await told_ip(other, server.port)

    asyncio.run(main())


def test_without_ipv6_every_address_is_that_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = _socket.socket

    def no_ipv6(family: int, kind: int) -> _socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, kind)

    with monkeypatch.context() as patched:
        patched.setattr(_socket, "socket", no_ipv6)
        listening = binding.listening("0.0.0.0", 0)
    with binding.wrapped(listening) as sock:
        assert sock.family == socket.AF_INET
        assert sock.getsockname()[0] == "0.0.0.0"


def test_a_port_in_use_is_an_error() -> None:
    with binding.bound("0.0.0.0", 0) as sock:
        sock.listen()
        with pytest.raises(OSError) as refused:
            binding.bound("0.0.0.0", sock.getsockname()[1]).listen()
        assert refused.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("address", "shown"), [("::ffff:10.0.0.1", "10.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "fe80::1")]
)
def test_peers_have_the_address_that_people_write(address: str, shown: str) -> None:
    assert binding.peer_ip(address) == shown

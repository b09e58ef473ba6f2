"""Accounts behind a URL: where requests go, with which credentials, and what is told of them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority

from millpond.accounts.book import AccountError
from millpond.config.operator import ResolverOptions
from millpond.config.tls import TlsClientOptions
from millpond.server.url_resolver import UrlResolver

Answer = Callable[[str], bytes]
"""What is said about a path."""


def found(body: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode())


def moved(where: str, status: int = 302) -> bytes:
    return b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where.encode())


class Web:
    """Remembers paths, and who was named with them."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self._answer, self._context = answer, context
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    async def __aenter__(self) -> Web:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *unused: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        who = re.search(r"(?i)^authorization: (.*)\r$", head, re.M)
        self.asked.append((path, who.group(1) if who is not None else ""))
        writer.write(self._answer(path))
        writer.close()


BASIC = "Basic dXNAZXI6c2UvY3JldA=="
SECRETS = ("us%40er", "se%2Fcret", "se/cret", "dXNAZXI6")


def fetch(answer: Answer, url: str = "http://us%40er:se%2Fcret@127.0.0.1:PORT/jwt/") -> tuple[str, Web]:
    """What came of it, or the error."""

    async def scenario() -> tuple[str, Web]:
        async with Web(answer) as web:
            resolver = UrlResolver(ResolverOptions(kind="url", url=url.replace("PORT", str(web.port))))
            try:
                return await resolver.fetch("A"), web
            except AccountError as error:
                return str(error), web

    return asyncio.run(asyncio.wait_for(scenario(), 30))


def test_credentials_of_the_url() -> None:
    text, web = fetch(lambda path: found("token"))
    assert text == "token" and web.asked == [("/jwt/A", BASIC)]
    text, web = fetch(lambda path: found("token"), "http://127.0.0.1:PORT/jwt?key=")
    assert text == "token" and web.asked == [("/jwt?key=A", "")], "the key stands behind all of it"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_account_that_is_elsewhere_on_the_server(status: int) -> None:
    text, web = fetch(lambda path: found("token") if path == "/other" else moved("/other", status))
    assert text == "token" and web.asked == [("/jwt/A", BASIC), ("/other", BASIC)]


def test_credentials_go_nowhere_else() -> None:
    """A whole URL names whom it trusts itself; as with Go's client."""
    asked: list[Web] = []

    async def scenario() -> str:
        async with Web(lambda path: found("token")) as there:
            asked.append(there)
            async with Web(lambda path: moved(f"http://127.0.0.1:{there.port}/x")) as here:
                url = f"http://u:p@127.0.0.1:{here.port}/"
                return await UrlResolver(ResolverOptions(kind="url", url=url)).fetch("A")

    assert asyncio.run(scenario()) == "token" and asked[0].asked == [("/x", "")]


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (lambda path: moved("/jwt/A"), "stopped after 10 redirects", 10),
        (lambda path: moved("ftp://u:se%2Fcret@x/y"), 'unsupported protocol scheme "ftp"', 1),
        (lambda path: moved("file:///etc/passwd"), 'unsupported protocol scheme "file"', 1),
        (lambda path: b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "302 Found", 1),
        (lambda path: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "401 Unauthorized", 1),
    ],
)  # fmt: skip
def test_what_is_told_when_there_is_none(answer: Any, reason: str, requests: int) -> None:
    text, web = fetch(answer)
    assert text.endswith(reason) and len(web.asked) == requests
    assert not any(secret in text for secret in SECRETS)


def test_authorities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)

    async def scenario() -> None:
        async with Web(lambda path: b"no TLS here") as web:
            resolver = UrlResolver(ResolverOptions(kind="url", url=f"https://127.0.0.1:{web.port}/"))
            for _ in range(3):
                with pytest.raises(AccountError, match="could not fetch"):
                    await resolver.fetch("A")

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert len(made) == 1


def test_files_are_read_again_after_a_reload(tmp_path: Path) -> None:
    """A new certificate of the web server, by another authority, in the place of the first one's."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    options = TlsClientOptions(ca_file=str(first.ca_file))

    async def scenario() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = second.server()
        context.load_cert_chain(pair.cert_file, pair.key_file)
        async with Web(lambda path: found("token"), context) as web:
            resolver = UrlResolver(ResolverOptions(kind="url", url=f"https://127.0.0.1:{web.port}/"), options)
            with pytest.raises(AccountError, match="certificate verify failed"):
                await resolver.fetch("A")
            first.ca_file.write_bytes(second.ca_file.read_bytes())
            with pytest.raises(AccountError, match="certificate verify failed"):
                await resolver.fetch("A")
            resolver.use_tls(options)
            assert await resolver.fetch("A") == "token"
            first.ca_file.unlink()
            resolver.use_tls(options)
            with pytest.raises(AccountError, match="no such file"):
                await resolver.fetch("A")

    asyncio.run(asyncio.wait_for(scenario(), 30))

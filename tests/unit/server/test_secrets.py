"""A canary in every place where a secret may be configured or sent is told by nobody: log, pages, process, errors."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from process import Running

CANARY = "CANARY-7f3a"
USERS = f"""
authorization {{ users = [
  {{ user: u, password: "{CANARY}-one" }}
  {{ user: v, password: "{CANARY}-two" }}
] }}
"""
TOKEN = f'authorization {{ token: "{CANARY}-token" }}\n'
ACCOUNTS = f'accounts {{ A {{ users: [ {{ user: u, password: "{CANARY}-a" }} ] }} }}\n'
PAGES = (
    "/", "/varz", "/connz?subs=detail&auth=1", "/connz?state=closed&auth=1", "/subsz?subs=1", "/accountz?acc=A",
    "/accstatz", "/jsz?config=1&accounts=1", "/healthz", "/metrics", "/memz", "/debug/vars", "/stacksz", "/expvarz",
    "/routez", "/leafz", "/gatewayz", "/ipqueuesz",
)  # fmt: skip


def page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read())
    except urllib.error.HTTPError as error:
        return str(error.read())


async def said(port: int, connect: dict[str, object]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT " + json.dumps(connect).encode() + b"\r\nPING\r\nFOO\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.parametrize("config", [USERS, TOKEN, ACCOUNTS], ids=["users", "token", "accounts"])
def test_a_running_server_tells_no_secret(tmp_path: Path, config: str) -> None:
    path = tmp_path / "server.conf"
    path.write_text(config)
    with Running("-c", str(path), "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-D", "-V") as server:
        monitor = int(server.line("Starting http monitor on ").rpartition(":")[2])
        port = server.ready()
        heard = [str(asyncio.run(said(port, fields))) for fields in (
            {"user": "u", "pass": f"{CANARY}-one"}, {"user": "u", "pass": f"{CANARY}-a"},
            {"auth_token": f"{CANARY}-token"}, {"user": "u", "pass": f"{CANARY}-wrong"},
            {"sig": f"{CANARY}-sig", "nkey": f"{CANARY}-nkey"},
        )]  # fmt: skip
        heard += [page(monitor, each) for each in PAGES]
        path.write_text(config.replace("-one", "-changed").replace("-token", "-changed").replace("-a", "-changed"))
        server.signal(signal.SIGHUP)
        server.line("Reloaded server configuration")
        path.write_text(config + "nonsense: [\n")
        server.signal(signal.SIGHUP)
        server.line("Failed to reload")
        server.signal(signal.SIGTERM)
        _, log = server.end()
    assert "auth" in heard[5 + PAGES.index("/varz")] or "authorization error" in log
    assert all(CANARY not in text for text in heard)
    assert CANARY not in log

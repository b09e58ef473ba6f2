"""The protocol trace: both servers write the same lines for the same bytes."""

from __future__ import annotations

import re
import socket
from itertools import groupby
from pathlib import Path

import pytest

from .conftest import running_pair
from .target import Target
from .wire_client import Client, ConnectionGone

pytestmark = pytest.mark.reference

SETTINGS = {
    "plain": "trace: true",
    "cut": "trace: true\nmax_traced_msg_len: 20",
    "headers": "trace_headers: true",
    "verbose": "trace_verbose: true\nmax_traced_msg_len: 3",
}
USERS = "accounts { A { users: [{user: a, password: a, permissions: {publish: [\"a.>\", \"$SYS.>\"]}}] } }"
ADDRESS = re.compile(r"127\.0\.0\.1:\d+ - cid:\d+")


def traced(target: Target) -> list[str]:
    """The lines of clients, without what belongs to one run."""
    lines = [line.partition("[TRC] ")[2] for line in target.log().splitlines() if "[TRC] 127.0.0.1:" in line]
    lines = [ADDRESS.sub("CLIENT", line) for line in lines]
    for ping in ("->> [PING]", "<<- [PONG]"):  # on a slow machine a server pings, and the client answers
        for line in [line for line in lines if line.endswith(ping)]:
            lines.remove(line)
    # Subscriptions that end together come in any order from nats-server.
    groups = groupby(lines, lambda line: line.partition(" - <-> [DELSUB")[0])
    return [line for _, group in groups for line in sorted(group)]


def script(target: Target) -> None:
    secrets = {"auth_token": "tok", "jwt": "j", "sig": "ss", "pass": "a", "passphrase": "p", "proxy_sig": "x"}
    client = target.connect(user="a", name='n"m', verbose=True, **secrets)
    client.subscribe("a.>")
    client.subscribe("q", "grp")
    client.publish("a.b", b'hello\x00\xffworld"x\n', "re.ply")
    client.publish("a.b", b"hdr", headers={"A": "1"})
    client.publish("a.b", b"", headers={"A": "1"})
    client.publish("a.b")
    client.flush()
    client.unsubscribe("2", 6)
    client.unsubscribe("3")
    client.unsubscribe("99")
    client.send(b"pub \t a.x  0\r\n\r\nPING  \r\nPONG\r\n+OK\r\nSUB a..b 9\r\nsub  a.c\t 7\n")
    client.flush()
    client.publish("nobody", b"x", "_INBOX.me.5")
    client.publish("a.other", b"y" * 3, "_INBOX.me.6")
    client.publish("a.b", b"0123456789" * 4)
    client.flush()
    halves(client)
    client.send(b"PUB a.b 99999999\r\n")
    client.until_closed()
    refused = b'CONNECT {"user":"bad","pass":"secret"}\r\nFOO\r\n'
    for rest in (refused, b'CONNECT {"verbose":false,"user":"a","pass":"a"}\r\nFOO\r\n'):
        with pytest.raises(ConnectionGone):
            Bare(target.port, rest)


def halves(client: Client) -> None:
    """Frames that come in pieces."""
    pieces = [(b"SUB a.half", b"way 55\r\n"), (b"PUB a.z 10\r\n01234", b"56789\r\n"), (b"PUB  ", b"a.z 0\r\n\r\n")]
    for first, rest in pieces:
        client.send(first)
        client.send(rest)
        client.flush()


class Bare(Client):
    """Only what is given, then the end."""

    def __init__(self, port: int, data: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.buffer = bytearray()
        self.send(data)
        while True:
            self.read_frame()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("users", ["", USERS], ids=["open", "users"])
def test_the_same_lines(request: pytest.FixtureRequest, tmp_path: Path, name: str, users: str) -> None:
    config = tmp_path / "trace.conf"
    config.write_text(f"{SETTINGS[name]}\n{users}\n")
    with running_pair(request, ("-c", str(config))) as pair:
        found = []
        for target in pair:
            script(target)
            target.stop()
            found.append(traced(target))
        assert found[1] == found[0]
        assert any("[CONNECT " in line for line in found[0])
        assert not any("secret" in line or '"tok"' in line for line in found[1])

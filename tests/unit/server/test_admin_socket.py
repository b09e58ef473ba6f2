"""The socket for operators: who is let in, as whom, and what becomes of the path; `millpond admin` beside it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from accounts_rig import client, options
from process import MILLPOND, Running

import millpond
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.cli.admin_peer import AdminError, Peer
from millpond.server import reload

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the kernel does not say who connects")

ACCOUNTS = """
accounts {
  SYS { users: [ { user: sys, pass: x } ] }
  A { users: [ { user: a, pass: x } ] }
  B { users: [ { user: b, pass: x } ] }
}
system_account: SYS
max_connections: 1
"""
STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(s.recv(1))
"""


class Local:
    """An operator's connection. It has read INFO."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> None:
        self.reader, self.writer = reader, writer
        self.info = json.loads(line[5:])

    @classmethod
    async def open(cls, path: Path) -> Local:
        reader, writer = await asyncio.open_unix_connection(str(path))
        return cls(reader, writer, await reader.readline())

    async def ask(self, page: str, first: bytes = b"") -> bytes:
        """The answer, or b"" when the connection is over."""
        subject = f"$SYS.REQ.SERVER.PING.{page}".encode()
        self.writer.write(first + b"SUB r 1\r\nPUB %s r 0\r\n\r\n" % subject)
        while line := await self.reader.readline():
            if line.startswith((b"MSG", b"HMSG")):
                return await self.reader.readexactly(int(line.split()[-1]))
        return b""


def config(tmp_path: Path, text: str = ACCOUNTS) -> str:
    return f'{text}\nadmin_socket: "{tmp_path}/a.sock"'


def run(place: Path, scenario: Callable[[millpond.Server], Awaitable[None]], text: str = ACCOUNTS) -> None:
    place.mkdir(exist_ok=True)

    async def main() -> None:
        async with millpond.Server.from_options(options(place, config(place, text))) as server:
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(main())


@pytest.mark.parametrize("first", [b"", b'CONNECT {"verbose":false,"user":"a","pass":"x"}\r\n', b"CONNECT {}\r\n"])
def test_an_operator_is_the_system_account(tmp_path: Path, first: bytes) -> None:
    """Whatever it says, on a server that is full and asks others who they are."""
    path = tmp_path / "a.sock"

    async def scenario(server: millpond.Server) -> None:
        other = await client(server, "a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        local = await Local.open(path)
        assert "auth_required" not in local.info
        found = json.loads(await local.ask("CONNZ", first))
        assert found["data"]["num_connections"] == 2
        (session,) = (each for each in server.broker.sessions.values() if each.origin.is_local)
        assert (session.account.name, session.ip, session.port) == ("SYS", "unix", os.getpid())
        await other.close()
        local.writer.close()

    run(tmp_path, scenario)
    assert not path.exists()


def test_whatever_a_callout_would_say(tmp_path: Path) -> None:
    """Nobody is asked about an operator."""

    async def scenario(server: millpond.Server) -> None:
        local = await Local.open(tmp_path / "a.sock")
        assert json.loads(await local.ask("IDZ", b"CONNECT {}\r\n"))["id"] == server.broker.server_id
        local.writer.close()

    issuer = "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"
    run(tmp_path, scenario, f"authorization {{ users: [ {{ user: a, pass: x }} ], "
        f"auth_callout {{ issuer: {issuer}, auth_users: [a] }} }}")  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_processes_of_others_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Even where the file system would let them."""
    place = tmp_path
    while place != Path("/tmp") and place != place.parent:
        place.chmod(0o755)
        place = place.parent

    async def scenario(server: millpond.Server) -> None:
        (tmp_path / "a.sock").chmod(0o666)
        command = [sys.executable, "-I", "-c", STRANGER, str(tmp_path / "a.sock")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        said, _ = await process.communicate()
        assert (said, process.returncode) == (b"b''\n", 0)
        assert server.broker.sessions == {}

    run(tmp_path, scenario)
    assert "is of user 65534, not of ours" in caplog.text


def test_so_many_at_a_time(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        path = tmp_path / "a.sock"
        there = [await Local.open(path) for _ in range(limits.LOCAL_CONNECTIONS_MAX)]
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b"", "one too many"
        writer.close()
        there[0].writer.write(b"FOO\r\n")              # an error that ends it
        await there[0].reader.read()
        one_more = await Local.open(path)
        assert await one_more.ask("IDZ")
        for local in (*there, one_more):
            local.writer.close()

    run(tmp_path, scenario)


def test_a_reload(tmp_path: Path) -> None:
    """Who is in stays, unless the system account is another one; the path stays what it was."""

    async def scenario(server: millpond.Server) -> None:
        local = await Local.open(tmp_path / "a.sock")
        assert await local.ask("IDZ", b"CONNECT {}\r\n")
        reload.apply(server, options(tmp_path, config(tmp_path).replace("pass: x", "pass: y")))
        assert await local.ask("IDZ")
        with pytest.raises(OptionError, match="admin_socket"):
            reload.apply(server, options(tmp_path, ACCOUNTS))
        assert await local.ask("IDZ")
        local.writer.close()

    run(tmp_path, scenario)


def test_what_lies_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    async def scenario(server: millpond.Server) -> None:
        with pytest.raises(OSError, match=r"cannot listen on .*a\.sock: Address already in use"):
            await millpond.Server.from_options(options(tmp_path, config(tmp_path))).start()
        local = await Local.open(path)
        assert await local.ask("IDZ"), "it is still the first one's"
        local.writer.close()

    run(tmp_path, scenario)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(OSError, match="Address already in use"):
        run(tmp_path, scenario)
    assert path.read_text() == "precious"
    with pytest.raises(OSError, match=r"cannot listen on .*: AF_UNIX path too long"):
        run(tmp_path / ("x" * 100), scenario)


def test_another_socket_at_the_path_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    other = socket.socket(socket.AF_UNIX)

    async def scenario(server: millpond.Server) -> None:
        path.unlink()
        other.bind(str(path))

    run(tmp_path, scenario)
    assert path.is_socket()
    other.close()


def test_without_a_system_account(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is none"):
        options(tmp_path, config(tmp_path, "no_system_account: true"))


# --- the command ---

CLIENT = """
import asyncio, os, sys, urllib.parse
async def main():
    url = urllib.parse.urlsplit(os.environ["NATS_URL"])
    for token, expected in (("wrong", b"-ERR"), (url.username, b"PONG")):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        assert (await reader.readline()).startswith(b"INFO")
        writer.write(b'CONNECT {"verbose":false,"auth_token":"%s"}\\r\\nPING\\r\\n' % token.encode())
        assert (await reader.readline()).startswith(expected), token
        writer.close()
    sys.exit(7)
asyncio.run(main())
"""


def command(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    at = ["--socket", str(path)] if path is not None else []
    return subprocess.run([str(MILLPOND), "admin", *at, *words], check=False, capture_output=True, text=True)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    flags = ("-a", "127.0.0.1", "-p", "-1", "--user", "u", "--pass", "secret", "--admin_socket", str(path))
    with Running(*flags) as server:
        server.line(f"Listening for local operators on {path}")
        server.ready()
        answer = command("ask", "varz", path=path)
        assert (answer.returncode, json.loads(answer.stdout)["data"]["auth_required"]) == (0, True)
        refused = command("ask", "RELOAD", path=path)
        assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, 500)
        nothing = command("ask", "$SYS.NOTHING", path=path)
        assert (nothing.returncode, nothing.stderr) == (1, "millpond: nobody answers on $SYS.NOTHING\n")
        assert command("ask", "a b", path=path).returncode == 1
        ran = command("run", sys.executable, "-I", "-c", CLIENT, path=path)
        assert (ran.returncode, ran.stderr) == (7, "")
        assert command("run", "no-such-command", path=path).returncode == 127
        assert command("run", "sh", "-c", "kill -9 $$", path=path).returncode == 128 + 9
    gone = command("ask", "VARZ", path=path)
    assert gone.returncode == 1
    assert "cannot reach a server at" in gone.stderr


def test_the_socket_is_found(tmp_path: Path) -> None:
    """Of the servers whose processes this user may see."""
    path = tmp_path / "a.sock"
    with Running("-a", "127.0.0.1", "-p", "-1", "--admin_socket", str(path)) as server:
        server.ready()
        found = command("ask", "IDZ")
        several = f"  --socket {path}\n"
        assert found.returncode == 0 or several in f"{found.stderr}\n", found.stderr


def test_what_listens_is_no_server(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(AdminError, match="no NATS server"), socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"hello\n")
                Peer(peer, path)

"""The service that nats.go's tests ask for servers: it starts whatever `nats-server` is first on PATH.

    python tests/clients/tester.py --port 4222

Those tests start no server. They send requests `tester.create.server` and the like to the address in TESTER_NATS_URL,
and get servers of their own, with pieces of configuration that they send along. The service that their authors
run is an image; this one answers the same subjects (documented with `github.com/synadia-io/orbit.go/ntf-client`),
with one process for each server. Not served: capturing of traces, and templates of whole configurations.

It listens by a nats-server of its own (of the development dependencies, on `--port`), prints `ready` when it does, and
ends with all its servers at TERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.msg import Msg

if __package__:
    from .tester_tls import Certificates
else:
    from tester_tls import Certificates

START_S_MAX = 20.0
STOP_S_MAX = 10.0
LOG_CHARS = 600
PORTS_OF_SNIPPETS = ("websocket", "mqtt", "leafnode")
ACTION = re.compile(r"\{\{\s*\.([\w.]+)\s*\}\}")
"""The part of Go's templates that pieces of configuration use: one field."""

Request = dict[str, Any]


class Refused(Exception):
    """What a request cannot get; the text goes to the test."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def listens(port: int) -> bool:
    """Whether somebody does. With a handshake first there is no INFO to be read, so this has to do."""
    try:
        _, writer = await asyncio.open_connection("localhost", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def filled(body: str, fields: dict[str, Any]) -> str:
    """A piece with its fields. Raises Refused for one that is not known."""

    def value(match: re.Match[str]) -> str:
        found: Any = fields
        for key in match[1].split("."):
            if not isinstance(found, dict) or key not in found:
                raise Refused(f"the template asks for .{match[1]}, which is not known here")
            found = found[key]
        return str(found)

    return ACTION.sub(value, body)


class Server:
    """One process, its directory and what its configuration is made of."""

    def __init__(self, name: str, cluster: str, root: Path, *, jetstream: bool, snippets: dict[str, str]) -> None:
        self.name = name
        self.cluster = cluster
        self.jetstream = jetstream
        self.port, self.cluster_port, self.gateway_port = free_port(), free_port(), free_port()
        self.ports = {key: free_port() for key in PORTS_OF_SNIPPETS if key in snippets}
        self.directory = root / name
        self.directory.mkdir(parents=True)
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def shown(self) -> Request:
        return {
            "name": self.name, "cluster": self.cluster, "port": self.port, "ports": self.ports,
            "running": self.running,
        }  # fmt: skip

    def configure(self, snippets: dict[str, str], wiring: str, fields: dict[str, Any]) -> None:
        """Writes the configuration. Raises Refused."""
        if set(self.ports) != {key for key in PORTS_OF_SNIPPETS if key in snippets}:
            raise Refused("the listeners of a server are fixed when it is created")
        known = {**fields, "Ports": self.ports, "ServerName": self.name, "StoreDir": str(self.directory)}
        part = {key: filled(body, known) for key, body in snippets.items()}
        extras = part.pop("jetstream", "")
        if extras and not self.jetstream:
            raise Refused("a snippet for jetstream needs a server with JetStream")
        text = [part.pop("top", ""), f'server_name: "{self.name}"', f"listen: localhost:{self.port}"]
        text += [part.pop(key, default) for key, default in defaults(self.jetstream).items()]
        if self.jetstream:
            text.append(f'jetstream {{\n  store_dir: "{self.directory}/store"\n{extras}\n}}')
        text += [part.pop("tls", fields.get("tls_block", "")), wiring, *(part.pop(key) for key in self.ports)]
        if part:
            raise Refused(f"unknown snippets: {', '.join(sorted(part))}")
        (self.directory / "conf").write_text("\n".join(text) + "\n")

    async def start(self) -> None:
        """Until it listens. Raises Refused with the end of its log."""
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "nats-server", "-c", str(self.directory / "conf"), stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(START_S_MAX):
                while not await listens(self.port):
                    if self.process.returncode is not None:
                        raise Refused(f"{self.name} ended with {self.process.returncode}: {self.log[-LOG_CHARS:]}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
            raise Refused(f"{self.name} was not ready in {START_S_MAX} s: {self.log[-LOG_CHARS:]}") from None

    async def stop(self) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S_MAX)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def reload(self) -> None:
        """Until the log tells how it went. Raises Refused."""
        if not self.running or self.process is None:
            raise Refused(f"{self.name} is not running")
        before = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(STOP_S_MAX):
                while "Reloaded server configuration" not in (told := self.log[before:]):
                    if "Failed to reload" in told:
                        raise Refused(f"{self.name}: {told[-LOG_CHARS:]}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Refused(f"{self.name} did not reload: {self.log[before:][-LOG_CHARS:]}") from None


def defaults(jetstream: bool) -> dict[str, str]:
    """What a server has where no snippet replaces it."""
    enabled = "jetstream: enabled, " if jetstream else ""
    accounts = [
        f'  USERS{number} {{ {enabled}users: [ {{ user: "user{number}", password: "password" }} ] }}'
        for number in range(1, 6)
    ]
    accounts.append('  $SYS { users: [ { user: "system", password: "password" } ] }')
    return {
        "accounts": "accounts {\n" + "\n".join(accounts) + "\n}",
        "system_account": 'system_account: "$SYS"',
        "authorization": "no_auth_user: user1",
    }


class Instance:
    """What one request made: a server, a cluster, or clusters behind gateways."""

    def __init__(self, kind: str, request: Request, root: Path) -> None:
        self.id = str(uuid.uuid4())
        self.kind = kind
        self.description = request.get("description", "")
        snippets = request.get("snippets") or {}
        if request.get("template") or request.get("trace"):
            raise Refused("templates and traces are not served here")
        self.root = root / self.id
        self.root.mkdir()
        short = self.id[-8:]
        clusters = {"server": 0, "cluster": 1}.get(kind, request.get("clusters", 0))
        size = request.get("servers", 1)
        names = [(f"{short}-n{n}", f"C-{short}" if clusters else "") for n in range(1, size + 1)]
        if clusters > 1:
            names = [
                (f"{short}-c{c}_s{n}", f"C{c}-{short}") for c in range(1, clusters + 1) for n in range(1, size + 1)
            ]
        jetstream = bool(request.get("jetstream"))
        self.servers = [
            Server(name, cluster, self.root, jetstream=jetstream, snippets=snippets) for name, cluster in names
        ]
        self.tls = Certificates(self.root, request["tls"]) if request.get("tls") else None
        if self.tls and "tls" in snippets:
            raise Refused("generated certificates and a snippet for tls exclude each other")
        for server in self.servers:
            self.configure(server, snippets)

    def configure(self, server: Server, snippets: dict[str, str]) -> None:
        fields: dict[str, Any] = {"InstanceID": self.id, "Host": "localhost", "ClientPort": server.port}
        if self.tls:
            fields |= {"TLS": self.tls.fields, "tls_block": self.tls.block()}
        server.configure(snippets, self.wiring(server), fields)

    def wiring(self, server: Server) -> str:
        if not server.cluster:
            return ""
        peers = [other for other in self.servers if other.cluster == server.cluster]
        routes = ", ".join(f"nats://localhost:{peer.cluster_port}" for peer in peers)
        text = f"cluster {{ name: {server.cluster}, listen: localhost:{server.cluster_port}, routes: [ {routes} ] }}"
        names = sorted({other.cluster for other in self.servers})
        if len(names) == 1:
            return text
        remotes = []
        for name in names:
            urls = ", ".join(f"nats://localhost:{s.gateway_port}" for s in self.servers if s.cluster == name)
            remotes.append(f"{{ name: {name}, urls: [ {urls} ] }}")
        gateway = f"name: {server.cluster}, listen: localhost:{server.gateway_port}, gateways: [ {', '.join(remotes)} ]"
        return f"{text}\ngateway {{ {gateway} }}"

    def shown(self) -> Request:
        found = {
            "id": self.id, "description": self.description, "kind": self.kind,
            "servers": [server.shown() for server in self.servers],
        }  # fmt: skip
        return found | ({"tls": self.tls.material()} if self.tls else {})

    async def start(self) -> None:
        """Raises Refused; nothing is left running then."""
        try:
            for server in self.servers:
                await server.start()
        except Refused:
            await self.destroy()
            raise

    async def destroy(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers))
        shutil.rmtree(self.root, ignore_errors=True)


class Tester:
    """All instances, and one method for each subject."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.instances: dict[str, Instance] = {}
        self.handlers: dict[str, Callable[[Request], Awaitable[Request]]] = {
            "create.server": lambda request: self.create("server", request),
            "create.cluster": lambda request: self.create("cluster", request),
            "create.super-cluster": lambda request: self.create("super-cluster", request),
            "stop.server": self.stop_server,
            "start.server": self.start_server,
            "update.server": self.update_server,
            "reload.server": self.reload_server,
            "status": self.status,
            "list": self.status,
            "destroy": self.destroy,
            "reset": self.reset,
        }

    async def answer(self, message: Msg) -> None:
        """A refusal goes into the headers, as services of NATS do it."""
        handler = self.handlers.get(message.subject.removeprefix("tester."))
        headers = None
        body = b"{}"
        try:
            if handler is None:
                raise Refused(f"{message.subject} is not served here")
            body = json.dumps(await handler(json.loads(message.data or b"{}"))).encode()
        except (Refused, OSError, ValueError, KeyError) as error:
            # One line: a header holds no more.
            text = " ".join(str(error).split()) or repr(error)
            headers = {"Nats-Service-Error": text, "Nats-Service-Error-Code": "500"}
        await message._client.publish(message.reply, body, headers=headers)

    def server(self, request: Request) -> tuple[Instance, Server]:
        for instance in self.instances.values():
            for server in instance.servers:
                if server.name == request["name"]:
                    return instance, server
        raise Refused(f"there is no server {request['name']}")

    async def create(self, kind: str, request: Request) -> Request:
        instance = Instance(kind, request, self.root)
        await instance.start()
        self.instances[instance.id] = instance
        return instance.shown()

    async def stop_server(self, request: Request) -> Request:
        _, server = self.server(request)
        await server.stop()
        return {"shutdown": True}

    async def start_server(self, request: Request) -> Request:
        _, server = self.server(request)
        await server.start()
        return {"started": True}

    async def update_server(self, request: Request) -> Request:
        instance, server = self.server(request)
        if request.get("tls_timeout") is not None:
            if instance.tls is None:
                raise Refused("this server has no generated certificates")
            instance.tls.timeout_s = request["tls_timeout"]
        instance.configure(server, request.get("snippets") or {})
        return {"updated": True}

    async def reload_server(self, request: Request) -> Request:
        _, server = self.server(request)
        await server.reload()
        return {"reloaded": True}

    async def status(self, request: Request) -> Request:
        wanted = request.get("instance_id") or None
        return {"instances": [it.shown() for it in self.instances.values() if wanted in (None, it.id)]}

    async def destroy(self, request: Request) -> Request:
        instance = self.instances.pop(request["instance_id"], None)
        if instance is not None:
            await instance.destroy()
        return {"destroyed": instance is not None}

    async def reset(self, request: Request) -> Request:
        for name in list(self.instances):
            await self.destroy({"instance_id": name})
        return {"shutdown": True}


async def serve(port: int) -> None:
    """Until TERM. Requests are served side by side: some take seconds."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    executable = Path(sys.prefix) / "bin" / "nats-server"
    with tempfile.TemporaryDirectory(prefix="tester-", ignore_cleanup_errors=True) as directory:
        tester = Tester(Path(directory))
        own = await asyncio.create_subprocess_exec(
            executable, "-a", "localhost", "-p", str(port), "-l", os.path.join(directory, "log")
        )
        try:
            async with asyncio.timeout(START_S_MAX):
                while not await listens(port):
                    await asyncio.sleep(0.02)
            client = await nats.connect(f"nats://localhost:{port}")
            running: set[asyncio.Task[None]] = set()

            async def take(message: Msg) -> None:
                task = asyncio.create_task(tester.answer(message))
                running.add(task)
                task.add_done_callback(running.discard)

            await client.subscribe("tester.>", cb=take)
            await client.flush()
            print("ready", flush=True)
            await ended.wait()
            await tester.reset({})
            await client.close()
        finally:
            own.terminate()
            await own.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="where it takes requests")
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

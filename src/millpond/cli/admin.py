"""`millpond admin`: what an operator may ask a server on this machine, without credentials, by its admin socket.

The server lets in its own user and root (`millpond serve --admin_socket PATH`). Exit codes: 0 answered, 1 not,
2 wrong usage; `run` ends as its command does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from millpond.base.errors import MillpondError
from millpond.cli.admin_peer import AdminError, Peer, connected

ENVIRONMENT: Final = "MILLPOND_ADMIN_SOCKET"
EXAMPLES: Final = """examples:
  millpond admin ask VARZ
  millpond admin ask CONNZ '{"subscriptions": true, "state": 2}'
  millpond admin ask RELOAD
  millpond admin ask '$SYS.REQ.ACCOUNT.$G.JSZ'
  millpond admin run nats server report jetstream
  kubectl exec millpond-0 -- millpond admin ask JSZ
"""


def main(argv: Sequence[str]) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        path = options.socket or os.environ.get(ENVIRONMENT) or found()
        if options.what == "ask":
            return ask(path, options.page, options.body)
        from millpond.cli import admin_run  # and asyncio with it

        return admin_run.main(path, [options.command, *options.arguments])
    except (MillpondError, OSError) as error:
        print(f"millpond: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("millpond admin", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument(
        "--socket", metavar="PATH", help=f"the server's admin socket (default: ${ENVIRONMENT}, or the one that is here)"
    )
    what = parser.add_subparsers(dest="what", required=True)
    asks = what.add_parser("ask", help="one request, answered as JSON")
    asks.add_argument("page", metavar="PAGE", help="VARZ, CONNZ, JSZ, HEALTHZ, RELOAD and so on; or a whole subject")
    asks.add_argument("body", metavar="JSON", nargs="?", default="", help="options of the request")
    runs = what.add_parser("run", help="a command that finds the server in NATS_URL, as its operator")
    runs.add_argument("command", metavar="COMMAND")
    runs.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER)
    return parser


# --- where it is ---


def found() -> str:
    """The admin socket of the only server here that has one. Raises AdminError."""
    if sys.platform != "linux":
        raise AdminError(f"say where the admin socket is: --socket PATH, or {ENVIRONMENT}")
    from millpond.cli.doctor_patient import find_servers, listening_paths

    paths = [path for pid in find_servers() for path in listening_paths(pid)]
    if len(paths) > 1:
        listed = "\n".join(f"  --socket {path}" for path in paths)
        raise AdminError(f"several servers here have an admin socket, choose one:\n{listed}")
    if not paths:
        raise AdminError(
            "no server that we may look at has an admin socket: start one with millpond serve --admin_socket PATH, "
            f"or say where it is: --socket PATH, or {ENVIRONMENT}"
        )
    return paths[0]


# --- one request ---


def ask(path: str, page: str, body: str) -> int:
    """Prints the answer; 1 when it is an error."""
    if any(letter.isspace() for letter in page) or not page:
        raise AdminError(f"{page!r} is no page and no subject; VARZ is one")
    with connected(path) as sock:
        peer = Peer(sock, path)
        subject = page if "." in page else f"$SYS.REQ.SERVER.{peer.server_id}.{page.upper()}"
        headers, data = peer.request(subject, body.encode())
    if headers.startswith(b"NATS/1.0 503"):
        raise AdminError(f"nobody answers on {subject}")
    try:
        found: Any = json.loads(data)
    except ValueError:
        print(data.decode("utf-8", "replace"))
        return 0
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 1 if isinstance(found, dict) and found.get("error") else 0

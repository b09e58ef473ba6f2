"""Joins two servers as far as mirrors and sources need it: the origins' API, deliveries, flow control.

    origin                                  relay                                 follower
    one client connection                                               its port for leaf nodes

    $JS.API.…            <------  request, under another prefix  ------   from.API.…
    _INBOX.relay.<n>     ------              answer              ----->   the request's reply subject
    from.in.…            ------             delivery             ----->   from.in.…
    $JS.FC.…, $JS.ACK.…  <------    as they were published       ------   $JS.FC.…, $JS.ACK.…
    a subscription       <------            interest             ------   a subscription under from.in.

Two clients cannot do it: a client may not publish with a reply on `$JS.ACK`, on either server, and what it publishes
shows the subject on which it goes. A leaf node writes the stored subject behind the reply, and the follower takes both
apart; so the relay is a leaf node there. Neither end knows the other, nor that one of them may be no nats-server.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from .wire_client import Client, Connection, ConnectionGone, Frame

API, DELIVER = "from.API", "from.in"
ANSWERS = "1"


class Leaf(Connection):
    """A leaf node without streams."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._line()
        self.send(b'CONNECT {"headers":true,"name":"relay","version":"2.15.1"}\r\n')
        for subject in (f"{API}.>", "$JS.FC.>", "$JS.ACK.>"):
            self.send(f"LS+ {subject}\r\n".encode())

    def read_frame(self) -> Frame:
        """The next message, or a change of interest; other frames without their parts. PING is answered."""
        words = self._line().decode().split()
        if words[0] == "PING":
            self.send(b"PONG\r\n")
        if words[0] not in ("LMSG", "HMSG"):
            return Frame(words[0], words[1] if words[0] in ("LS+", "LS-") else "")
        sizes = 2 if words[0] == "HMSG" else 1
        header_bytes = int(words[-2]) if sizes == 2 else 0
        data = self._exactly(int(words[-1]))
        reply = words[2] if len(words) == 3 + sizes else ""
        return Frame(words[0], words[1], "", reply, data[:header_bytes], data[header_bytes:])

    def publish(self, subject: str, reply: str, headers: bytes, payload: bytes) -> None:
        sizes = f"{len(headers)} {len(headers) + len(payload)}" if headers else f"{len(payload)}"
        op = "HMSG" if headers else "LMSG"
        self.send(f"{op} {subject} {reply} {sizes}\r\n".encode() + headers + payload + b"\r\n")


class Origin(Client):
    """Beside the scenario's own client, in the same subject space."""

    inbox = "_INBOX.relay"


def once(frame: Frame) -> int:
    """What a good link does with a delivery."""
    return 1


class Relay:
    """Runs until `close`, or until one of the two servers is gone.

    `copies`: asked for each delivery, how often it comes over; it may block, and the link stands still.
    """

    def __init__(self, origin_port: int, leaf_port: int, copies: Callable[[Frame], int] = once) -> None:
        self._copies = copies
        self._lock = threading.Lock()
        self._replies: dict[str, str] = {}
        self._delivers: dict[str, str] = {}
        """Deliver subjects by the ids of the subscriptions at the origin."""
        self._origin = Origin(origin_port, no_responders=False, name="relay")
        self._leaf = Leaf(leaf_port)
        for connection in (self._origin, self._leaf):
            connection.socket.settimeout(None)
        ways = (self._from_origin, self._from_leaf)
        self._threads = [threading.Thread(target=self._run, args=(way,)) for way in ways]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._hang_up()
        for thread in self._threads:
            thread.join()

    def _hang_up(self) -> None:
        for connection in (self._origin, self._leaf):
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def _run(self, act: Callable[[], None]) -> None:
        try:
            while True:
                act()
        except (ConnectionGone, OSError):
            self._hang_up()

    # --- to the origin ---

    def _from_leaf(self) -> None:
        frame = self._leaf.read_frame()
        with self._lock:
            if frame.op in ("LS+", "LS-"):
                self._interest(frame.subject, frame.op == "LS+")
            elif frame.subject:
                self._request(frame)

    def _interest(self, subject: str, there: bool) -> None:
        """A consumer delivers where somebody listens, and not before."""
        if not subject.startswith(f"{DELIVER}."):
            return
        if there:
            self._delivers[self._origin.subscribe(subject)] = subject
        else:
            for sid in [sid for sid, deliver in self._delivers.items() if deliver == subject]:
                self._origin.unsubscribe(sid)

    def _request(self, frame: Frame) -> None:
        subject, reply = frame.subject, ""
        if subject.startswith(f"{API}."):
            subject = "$JS.API" + subject.removeprefix(API)
        if frame.reply:
            reply = self._origin.new_reply()
            self._replies[reply] = frame.reply
        self._origin.publish(subject, frame.payload, reply, frame.headers or None)

    # --- to the follower ---

    def _from_origin(self) -> None:
        frame = self._origin.read_frame()
        if frame.op == "PING":
            with self._lock:
                self._origin.send(b"PONG\r\n")
        elif frame.sid == ANSWERS:
            self._leaf.publish(self._replies.pop(frame.subject), "", frame.headers, frame.payload)
        elif frame.sid:
            self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        is_stored = frame.reply.startswith("$JS.ACK.")
        reply = f"{frame.reply}@{frame.subject}" if is_stored else frame.reply
        with self._lock:
            subject = self._delivers[frame.sid]
        for _ in range(self._copies(frame) if is_stored else 1):
            self._leaf.publish(subject, reply, frame.headers, frame.payload)

"""The least that a server can do: what a row of docs/performance.md costs when nothing is decided.

    python bare.py                 reads what it is sent into one buffer, and answers a PING at its end
    python bare.py --sync          acknowledges every message when it is durable: one page of a file for each subject is
                                   written, one fdatasync for each file of what was read at once, 16 threads at a time

One blocking thread for all connections, no routing, no checks, no stream: nobody is faster with sockets and files as
they are. It takes the flags that servers under measurement get, and answers the load generator only.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Final

READ_BYTES: Final = 256 * 1024
FILE_BYTES: Final = 128 * 1024
PAGE_BYTES: Final = 4096
INFO: Final = b'INFO {"server_id":"BARE","version":"2.15.1","max_payload":1048576,"headers":true,"proto":1}\r\n'
ANSWER: Final = b'{"stream":"S","seq":1}'
THREADS: Final = 16


class Files:
    """One for each subject, reserved and written before, as segments are."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bare-", dir=_store())
        self._open: dict[bytes, int] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    def keep(self, subjects: set[bytes]) -> None:
        """A page of each, durable."""
        written = [self._write(subject) for subject in subjects]
        if len(written) == 1:
            os.fdatasync(written[0])
        else:
            list(self._threads.map(os.fdatasync, written))

    def _write(self, subject: bytes) -> int:
        fd = self._open.get(subject)
        if fd is None:
            fd = os.open(f"{self._directory.name}/{len(self._open)}", os.O_RDWR | os.O_CREAT)
            os.pwrite(fd, bytes(FILE_BYTES), 0)
            os.fsync(fd)
            self._open[subject] = fd
        os.pwrite(fd, bytes(PAGE_BYTES), 0)
        return fd


class Peer:
    """One connection. What is not whole yet waits."""

    def __init__(self, sock: socket.socket, files: Files | None) -> None:
        self.sock, self._files, self._kept, self._buffer = sock, files, b"", bytearray(READ_BYTES)
        sock.sendall(INFO)

    def read(self) -> bool:
        """False: it is gone."""
        got = self.sock.recv_into(self._buffer)
        if self._files is not None:
            self._take(self._files, self._kept + self._buffer[:got])
        elif self._buffer.endswith(b"PING\r\n", max(0, got - 6), got):
            self.sock.sendall(b"PONG\r\n")
        return got > 0

    def _take(self, files: Files, data: bytes) -> None:
        at, answers, subjects = 0, [], set()
        while (end := data.find(b"\r\n", at)) >= 0:
            words = bytes(data[at:end]).split(b" ")
            whole = end + 2 + (int(words[-1]) + 2 if words[0] == b"PUB" else 0)
            if whole > len(data):
                break
            at = whole
            if words[0] == b"PING":
                answers.append(b"PONG\r\n")
            elif words[0] == b"PUB" and len(words) == 4:
                answers.append(b"MSG %b 1 %d\r\n%b\r\n" % (words[2], len(ANSWER), ANSWER))
                if not words[1].startswith(b"$JS.API."):
                    subjects.add(words[1])
        self._kept = data[at:]
        if subjects:
            files.keep(subjects)
        if answers:
            self.sock.sendall(b"".join(answers))


def _store() -> str:
    """The directory behind -sd."""
    path = sys.argv[sys.argv.index("-sd") + 1]
    os.makedirs(path, exist_ok=True)
    return path


def main() -> None:
    """Until it is killed."""
    files = Files() if "--sync" in sys.argv else None
    listener = socket.create_server(("127.0.0.1", 0))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    print(f"Listening for client connections on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                sock = listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, Peer(sock, files))
            elif not key.data.read():
                selector.unregister(key.data.sock)
                key.data.sock.close()


if __name__ == "__main__":
    main()

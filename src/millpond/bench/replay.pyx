"""The data plane without sockets: sessions whose input is bytes at hand and whose output is counted and
thrown away. What is left is the server's own work, the same instructions on every run.

    Replay -> Broker, Turn, JetStream engine     one server's core
    Client -> Session over a channel that takes everything
"""

import tempfile
from pathlib import Path

from libc.stdint cimport uint64_t

from millpond.base.clock cimport ManualClock
from millpond.broker.broker cimport Broker
from millpond.broker.outbox cimport Channel
from millpond.broker.session cimport Session

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage

cdef extern from "millpond/bench/mark.h" nogil:
    void millpond_bench_mark()


def mark():
    """Where a measuring tool begins or ends a section."""
    millpond_bench_mark()


cdef class Drain(Channel):
    """Takes every byte at once; keeps the last ones for a look."""
    cdef readonly uint64_t taken
    cdef readonly bytes last
    cdef bint keep

    cdef Py_ssize_t send(self, const char* data, size_t n) except -2:
        self.taken += n
        if self.keep:
            self.last = (self.last or b"") + data[:n]
        return <Py_ssize_t>n

    cdef int want_write(self, bint on) except -1:
        return 0

    cdef int pause_reading(self, bint on) except -1:
        raise AssertionError("a drain is never full")

    cdef int close(self) except -1:
        return 0


cdef class Client:
    """One session."""
    cdef Session session
    cdef readonly Drain drain

    def __init__(self, Broker broker):
        self.drain = Drain()
        self.session = Session(broker, self.drain, "127.0.0.1", 1)
        self.session.open()
        self.feed(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n')

    def feed(self, bytes data):
        """Whole frames take effect, as in the intake of a turn."""
        cdef size_t need
        cdef size_t used = self.session.feed(data, len(data), &need)
        assert used == <size_t>len(data), f"{used} of {len(data)} bytes were taken"


class Replay:
    """One server's core with JetStream. `sync`: as for the server."""

    def __init__(self, str sync="never"):
        self._directory = tempfile.TemporaryDirectory(prefix="millpond-replay-")
        options = Options(jetstream=JetStreamOptions(store_dir=self._directory.name, sync=sync))
        self.clock = ManualClock()
        self.broker = Broker(options, self.clock)
        self._storage = Storage(options.jetstream, Path(self._directory.name))
        self._engine = Engine(options.jetstream, self._storage, self.broker.router, self.broker.turn, "replay")
        self._engine.recover()
        self._api = Api(self._engine, self.broker.router, self._engine.advisories, server_name="", domain="")
        self._admin = self.client()
        self._admin.feed(b"SUB admin.* 1\r\n")

    def client(self):
        return Client(self.broker)

    def turn(self):
        """The rest of a turn: timers, commit, pump, flush, until nothing is left."""
        self.clock.advance(0.0001)
        while self.broker.turn.finish_now():
            pass

    def api(self, str subject, bytes body=b""):
        """A JetStream API request; the frame that answers it."""
        cdef Drain drain = (<Client>self._admin).drain
        drain.keep, drain.last = True, b""
        self._admin.feed(f"PUB $JS.API.{subject} admin.1 {len(body)}\r\n".encode() + body + b"\r\n")
        self.turn()
        drain.keep = False
        assert b'"error"' not in drain.last, drain.last
        return drain.last

    def close(self):
        self._api.close()
        self._engine.stop()
        self._directory.cleanup()

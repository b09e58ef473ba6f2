"""Flow control of a push consumer, with nats-server's window: a sixteenth of the most at first, doubled by
every answer. A request goes out past half of the window; unanswered, delivery stops at a whole one."""

from libc.stdint cimport int64_t

from millpond.base.ids import short_name

cdef enum:
    TOKEN_LENGTH = 4


cdef class Window:
    """`prefix` is `$JS.FC.<stream>.<consumer>.`; a token is added that makes each request its own."""

    def __init__(self, str prefix, int64_t size_max_bytes):
        self._prefix = prefix
        self.size_max_bytes = size_max_bytes
        self.size_bytes = size_max_bytes // 16

    cdef bint closed(self) noexcept:
        return self.used_bytes > self.size_bytes

    cdef bint count(self, int64_t size, bint at_limit) noexcept:
        self.used_bytes += size
        if self.reply is None:
            return at_limit or self.used_bytes > self.size_bytes // 2
        if self.used_bytes - self.asked_bytes >= self.size_bytes:
            self.asked_bytes += size
        return False

    cdef bint open_request(self) except *:
        if self.reply is not None:
            return False
        self.reply = f"{self._prefix}{short_name()[:TOKEN_LENGTH]}".encode()
        self.asked_bytes = self.used_bytes
        return True

    cdef bint answered(self, bytes subject) noexcept:
        if self.reply is None or self.reply != subject:
            return False
        self.size_bytes = min(self.size_bytes * 2, self.size_max_bytes)
        self.used_bytes = max(<int64_t>0, self.used_bytes - self.asked_bytes)
        self.reply, self.asked_bytes = None, 0
        return True

"""Holding messages back (reference 4.1: replay_policy original, rate_limit_bps).

Replay: the next message waits as long as it came after the one before, counted from when it could be sent.
The rate is a bucket that holds `burst_bytes`: `_paid_until_ns` is when everything sent so far is paid for, and
a message goes when that is no more than a full bucket ahead.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MILLISECOND = 1_000_000              # shorter distances are not replayed
    SECOND = 1_000_000_000


cdef class Pace:
    """Nothing is held until `limit` or `replay` says so."""

    cdef int limit(self, uint64_t bits_per_second, uint64_t burst_bytes) except -1:
        self._bytes_per_second = (bits_per_second + 7) // 8
        self._burst_ns = self._cost_ns(burst_bytes) if self._bytes_per_second else 0
        return 0

    cdef int replay(self, uint64_t end_seq) except -1:
        self._replay, self._replay_end_seq = True, end_seq
        return 0

    cdef int64_t _cost_ns(self, int64_t size) noexcept:
        return <int64_t>(<double>size * SECOND / self._bytes_per_second)

    cdef bint holds(self, uint64_t stream_seq, int64_t ts_ns, int64_t size, int64_t now_ns) noexcept:
        cdef int64_t goes_ns
        if self._replay:
            if stream_seq > self._replay_end_seq:
                self._replay = False
            elif self._last_ts_ns and ts_ns - self._last_ts_ns > MILLISECOND:
                if self._held_seq != stream_seq:
                    self._held_seq = stream_seq
                    self.hold_until_ns = now_ns + ts_ns - self._last_ts_ns
                if self.hold_until_ns > now_ns:
                    return True
        if self._bytes_per_second:
            goes_ns = self._paid_until_ns + self._cost_ns(size) - self._burst_ns
            if goes_ns > now_ns:
                self.hold_until_ns = goes_ns
                return True
        return False

    cdef void sent(self, int64_t ts_ns, int64_t size, int64_t now_ns) noexcept:
        self._last_ts_ns = ts_ns
        if self._bytes_per_second:
            self._paid_until_ns = max(self._paid_until_ns, now_ns) + self._cost_ns(size)

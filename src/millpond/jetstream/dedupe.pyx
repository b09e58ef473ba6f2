"""Which message ids were stored within the duplicate window, oldest first.

An id is forgotten once its message is older than the window; every look-up forgets what is due first, so
memory follows the rate of publishes times the window.
"""

from collections import deque

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    ID_BYTES = 340               # two table entries, a tuple, its numbers and an id of 36 characters


cdef class Dedupe:
    """Ids in order of arrival; times never decrease."""

    def __init__(self, int64_t window_ns):
        assert window_ns >= 0
        self.window_ns = window_ns
        self._seqs = {}
        self._order = deque()

    def __len__(self):
        return len(self._seqs)

    cdef uint64_t memory_bytes(self) noexcept:
        return <uint64_t>len(self._seqs) * ID_BYTES

    cdef uint64_t find(self, bytes msg_id, int64_t now_ns) except? 0:
        if self.window_ns == 0:
            return 0
        self.expire(now_ns)
        return self._seqs.get(msg_id, 0)

    cdef int add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns) except -1:
        assert stream_seq > 0
        if self.window_ns == 0:
            return 0
        self.expire(ts_ns)
        self._seqs[msg_id] = stream_seq
        self._order.append((ts_ns, msg_id, stream_seq))
        return 0

    cdef int expire(self, int64_t now_ns) except -1:
        cdef object order = self._order
        while order and <int64_t>order[0][0] + self.window_ns <= now_ns:
            _, msg_id, stream_seq = order.popleft()
            if self._seqs.get(msg_id) == stream_seq:
                del self._seqs[msg_id]
        return 0

    def py_find(self, bytes msg_id, int64_t now_ns):
        """Python's door to `find`."""
        return self.find(msg_id, now_ns)

    def py_add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns):
        """Python's door to `add`."""
        self.add(msg_id, stream_seq, ts_ns)

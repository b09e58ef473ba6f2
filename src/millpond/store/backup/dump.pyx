"""A stream's messages, as they were when the dump began, on their way into an archive.

What is appended later has a higher sequence and is not in it. What leaves the stream before the dump has come to it
is not in it either, as with nats-server. Each message is verified when it is read; one that is damaged ends the dump,
so that it does not enter a backup, or miss in one, silently.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from millpond.store.api cimport COLD, FOUND, Load, Record, Store
from millpond.store.backup.archive cimport ArchiveWriter

cdef enum:
    MESSAGE_COST = 256               # of a budget, besides its bytes


cdef class Dump:
    """Messages [first_seq, last_seq] of `store` behind what its caller puts into `archive` first."""

    def __init__(self, Store store, uint64_t last_seq):
        self._store = store
        self._next_seq, self._last_seq = store.state.first_seq, last_seq
        self.archive = ArchiveWriter()
        self.failure = ""

    cpdef int fill(self, size_t wanted, uint64_t budget) except -1:
        """Goes on until `wanted` bytes are encoded or `budget` bytes were read; returns Filled."""
        cdef Record record
        cdef Load found
        cdef uint64_t seq, spent = 0
        while self.archive.stream.out.size() < wanted:
            if self._over:
                return OVER
            if spent >= budget:
                return MORE
            seq = self._store.next_live(self._next_seq)
            if seq == 0 or seq > self._last_seq:
                self.archive.end()
                self._over = True
                continue
            found = self._store.load(seq, &record)
            if found == COLD:
                return COLD_READ
            if found != FOUND:
                self.failure = f"couldn't load next message after seq {self._next_seq}: message {seq} is damaged"
                return FAILED
            self.archive.put_message(&record)
            spent += MESSAGE_COST + record.subject_len + record.hdr_len + record.body_len
            self._next_seq = seq + 1
        return FULL

    cpdef bytes take(self, size_t n):
        n = min(n, self.archive.stream.out.size())
        out = PyBytes_FromStringAndSize(self.archive.stream.out.data + self.archive.stream.out.head, n)
        self.archive.stream.out.consume(n)
        return out

    def next_seq(self):
        """Where it goes on."""
        return self._next_seq

    def held_bytes(self):
        """What is held in memory."""
        return self.archive.stream.out.allocated + self.archive.stream._block.allocated

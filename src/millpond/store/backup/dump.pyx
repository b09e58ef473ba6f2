"""A stream's messages, as they were when the dump began, on their way into an archive.

What is appended later has a higher sequence and is not in it; what leaves the stream before the dump has come to it is
kept by the store meanwhile (`store/pin`), unless it was removed securely. Each message is verified when it is read; one
that is damaged ends the dump, so that it does not enter a backup, or miss in one, silently.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from millpond.store.api cimport COLD, FOUND, MISSING, Load, Record
from millpond.store.backup.archive cimport ArchiveWriter
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.pin cimport Kept, Pin

cdef enum:
    MESSAGE_COST = 256               # of a budget, besides its bytes


cdef class Dump:
    """Messages of `store` up to `last_seq`, behind what its caller puts into `archive` first. To be closed."""

    def __init__(self, IndexedStore store, uint64_t last_seq):
        self._store, self._pin = store, Pin(store.state.first_seq, last_seq)
        store.add_pin(self._pin)
        self.archive = ArchiveWriter()
        self.failure = ""

    def close(self):
        """Let the store forget what it kept for the dump."""
        if self._pin is not None:
            self._store.remove_pin(self._pin)
            self._pin = None

    cdef Load _next(self, Record* out) except *:
        """The next message; MISSING with a sequence: it is damaged, with 0: there is none."""
        cdef uint64_t seq = self._store.next_live(self._pin.next_seq)
        cdef const Kept* kept = self._pin.first()
        cdef Load found
        out.seq = 0
        if kept != NULL and (seq == 0 or kept.seq < seq):
            found = self._store.load_kept(kept, out)
            out.seq = kept.seq
        elif seq == 0 or seq > self._pin.last_seq:
            return MISSING
        else:
            found = self._store.load(seq, out)
            out.seq = seq
        return found

    cpdef int fill(self, size_t wanted, uint64_t budget) except -1:
        """Goes on until `wanted` bytes are encoded or `budget` bytes were read; returns Filled."""
        cdef Record record
        cdef Load found
        cdef uint64_t spent = 0
        while self.archive.stream.out.size() < wanted:
            if self._over:
                return OVER
            if spent >= budget:
                return MORE
            if self._pin.overflowed:
                self.failure = "too many messages have left the stream since the snapshot began"
                return FAILED
            found = self._next(&record)
            if found == COLD:
                return COLD_READ
            if found == FOUND:
                self.archive.put_message(&record)
                spent += MESSAGE_COST + record.subject_len + record.hdr_len + record.body_len
                self._pin.pass_to(record.seq + 1)
            elif record.seq == 0:
                self.archive.end()
                self._over = True
            else:
                self.failure = f"couldn't load next message after seq {self._pin.next_seq}: " \
                               f"message {record.seq} is damaged"
                return FAILED
        return FULL

    cpdef bytes take(self, size_t n):
        n = min(n, self.archive.stream.out.size())
        out = PyBytes_FromStringAndSize(self.archive.stream.out.data + self.archive.stream.out.head, n)
        self.archive.stream.out.consume(n)
        return out

    def next_seq(self):
        """Where it goes on."""
        return self._pin.next_seq

    def held_bytes(self):
        """What is held in memory."""
        kept = 0 if self._pin is None else self._pin.bytes
        return self.archive.stream.out.allocated + self.archive.stream._block.allocated + kept

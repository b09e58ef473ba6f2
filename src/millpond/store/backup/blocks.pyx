"""Message blocks of nats-server, as they are in a backup: neither compressed nor encrypted.

    block  = records
    record = length (4; top bit: has headers) | sequence (8) | time, Unix ns (8) | subject length (2) | subject
             | header length (4, with headers) | header block | payload | hash (8)

    of the sequence the top bit says: erased, the next one: this record only says that the sequence is gone

All numbers are little-endian. The hashes are not verified: they are for damage on a disk, and the stream around the
blocks has checksums of its own.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.store.backup.archive cimport BROKEN, READY, STARVED, Read
from millpond.store.backup.load cimport AGAIN, COMPLETE, FAULTY, HUNGRY, UNWRITTEN, Loader
from millpond.store.backup.tar cimport TarReader

from millpond.base import limits

cdef enum:
    HEAD = 22
    HASH = 8
    HEADER_LENGTH = 4
    RECORD_COST = 256                # of a budget, besides its bytes

cdef uint32_t HAS_HEADERS = 0x80000000
cdef uint64_t ERASED = <uint64_t>1 << 63
cdef uint64_t TOMBSTONE = <uint64_t>1 << 62
cdef uint32_t RECORD_MAX = limits.RECORD_BYTES_MAX + limits.KIB


cdef class BlockLoader:
    """Puts the messages of all blocks, in their order, into the loader's store."""

    def __init__(self, Loader loader):
        self._loader = loader

    cpdef int load(self, TarReader tar, uint64_t budget) except -1:
        cdef uint32_t length
        cdef uint64_t spent = 0
        cdef Read found
        while not self._loader.failure:
            if self._loader.is_behind():
                return UNWRITTEN
            if tar.left == 0:
                return COMPLETE
            if spent >= budget:
                return AGAIN
            if tar.left < HEAD + HASH:
                self._loader.refuse("message block is damaged")
                break
            found = tar.need(HEAD)
            if found == READY:
                memcpy(&length, tar.stream.out.data + tar.stream.out.head, 4)
                length &= ~HAS_HEADERS
                if not HEAD + HASH <= length <= min(<uint64_t>RECORD_MAX, tar.left):
                    self._loader.refuse("message block is damaged")
                    break
                found = tar.need(length)
            if found == STARVED:
                return HUNGRY
            if found == BROKEN:
                self._loader.refuse(tar.failure)
                break
            self._take(tar.stream.out.data + tar.stream.out.head, length)
            tar.consume(length)
            spent += RECORD_COST + length
        return FAULTY

    cdef int _take(self, const char* at, size_t length) except -1:
        cdef uint32_t first, hdr_len = 0
        cdef uint64_t seq
        cdef int64_t ts_ns
        cdef uint16_t subject_len
        cdef const char* rest = at + HEAD
        cdef size_t left = length - HEAD - HASH
        memcpy(&first, at, 4)
        memcpy(&seq, at + 4, 8)
        memcpy(&ts_ns, at + 12, 8)
        memcpy(&subject_len, at + 20, 2)
        gone = seq & ~(ERASED | TOMBSTONE)
        self.last_seq = max(self.last_seq, gone)
        if seq & TOMBSTONE:
            self._loader.forget(gone)
            return 0
        if seq & ERASED or seq <= self._loader.last_seq:
            return 0
        if first & HAS_HEADERS:
            if left < <size_t>subject_len + HEADER_LENGTH:
                return self._loader.refuse("message block is damaged")
            memcpy(&hdr_len, rest + subject_len, HEADER_LENGTH)
        left -= min(left, <size_t>subject_len + (HEADER_LENGTH if first & HAS_HEADERS else 0))
        if length - HEAD - HASH < subject_len or left < hdr_len:
            return self._loader.refuse("message block is damaged")
        if not self._loader.fits(seq, hdr_len, left - hdr_len):
            return 0
        rest += subject_len + (HEADER_LENGTH if first & HAS_HEADERS else 0)
        self._loader.put(seq, ts_ns, at + HEAD, subject_len, rest, hdr_len, rest + hdr_len, left - hdr_len)
        return 0

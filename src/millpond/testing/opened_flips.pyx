"""Every bit of a segment's file, flipped in turn: the store is opened with it, and everything in it read and compared.

`bit_flips` shows in memory, a few million times a second, that readers see one record less. Here nothing is concluded:
recovery runs over the files (on a disk in memory), each message is read as consumers read it, and compared byte by byte
with what was stored. Ten thousand a second or so.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from millpond.store.api cimport FOUND, Record
from millpond.store.committer cimport Committer
from millpond.store.file_store cimport FileStore
from millpond.store.read_cache cimport ReadCache
from millpond.testing.memory_disk cimport MemoryDisk

from millpond.base.errors import StoreError
from millpond.testing.memory_disk import files_in

cdef enum:
    WRONG_MAX = 100                  # of one run, in words


cdef struct Known:                   # a message that was stored once
    const char* data                 # subject, header block and body, in a row; NULL: there was none
    int64_t ts_ns
    uint32_t subject_len, hdr_len, body_len
    bint live


cdef class OpenedFlips:
    """A stream's directory, of which a copy in memory is changed and put back again.

    ever: {sequence: (time, subject, header block, body)} of all that was ever stored; live: the sequences that are there;
    last_seq: the last one issued. `counts` says what became of the flips, `wrong` in words what must not be.
    """

    cdef public dict counts
    cdef public list wrong
    cdef str _slot
    cdef set _live
    cdef list _kept                  # keeps the data of _known alive
    cdef Known* _known
    cdef uint64_t _last_seq
    cdef uint32_t _segment_bytes
    cdef MemoryDisk _disk
    cdef Committer _committer
    cdef ReadCache _cache

    def __init__(self, str slot, dict ever, set live, uint64_t last_seq, uint32_t segment_bytes):
        cdef uint64_t seq
        cdef bytes data
        self._slot, self._live, self._last_seq, self._segment_bytes = slot, live, last_seq, segment_bytes
        self.counts, self.wrong, self._kept = {}, [], []
        self._known = <Known*>calloc(last_seq + 1, sizeof(Known))
        if self._known == NULL:
            raise MemoryError
        for seq, (ts_ns, subject, hdr, body) in ever.items():
            data = subject + hdr + body
            self._kept.append(data)
            self._known[seq] = Known(data, ts_ns, len(subject), len(hdr), len(body), seq in live)
        self._disk = MemoryDisk(slot, files_in(slot))
        self._committer, self._cache = Committer(disk=self._disk), ReadCache(disk=self._disk)

    def __dealloc__(self):
        free(self._known)

    def run(self, str name, uint64_t first_bit, uint64_t last_bit, uint64_t step=1):
        """Flips every `step`th bit of the file from `first_bit` to before `last_bit`. Returns how many."""
        cdef str path = f"{self._slot}/{name}"
        cdef uint64_t at = first_bit, done = 0, end = min(last_bit, <uint64_t>self._disk.size_at(path) * 8)
        while at < end:
            self._disk.flip(path, at)
            self._open(name, at)
            self._disk.put_back()
            at += step
            done += 1
        return done

    def close(self):
        self._cache.close()
        self._committer.close()

    cdef int _note(self, str what) except -1:
        self.counts[what] = self.counts.get(what, 0) + 1
        return 0

    cdef int _say(self, str name, uint64_t at, str what) except -1:
        self._note("WRONG")
        if len(self.wrong) < WRONG_MAX:
            self.wrong.append(f"{name}: bit {at % 8} of byte {at // 8}: {what}")
        return 0

    cdef int _open(self, str name, uint64_t at) except -1:
        """One flip is made: opens, reads, compares."""
        cdef FileStore store
        try:
            store = FileStore(self._slot, self._committer, self._cache, None, self._segment_bytes, 1)
        except (StoreError, OSError):
            return self._note("not opened")
        except BaseException as error:
            return self._say(name, at, f"it does not start: {error!r}")
        try:
            self._compare(store, name, at)
        except BaseException as error:
            self._say(name, at, f"it cannot be read: {error!r}")
        finally:
            store.destroy()
        return 0

    cdef int _compare(self, FileStore store, str name, uint64_t at) except -1:
        cdef uint64_t seq = store.next_live(0), next, found = 0, back = 0
        cdef Record record
        cdef Known* known
        while seq:
            next = store.next_live(seq + 1)
            if store.load(seq, &record, True) == FOUND:
                known = &self._known[seq] if seq <= self._last_seq else NULL
                if known == NULL or not _same(known, &record):
                    return self._say(name, at, f"message {seq} is another one than was stored")
                found += known.live
                back += not known.live
            seq = next
        if store.state.last_seq < self._last_seq:
            return self._say(name, at, f"it ends at {store.state.last_seq}, and {self._last_seq} was issued")
        if found == <uint64_t>len(self._live) and not back and not store.losses and not store.damage and not store.torn_seq:
            return self._note("harmless")
        return self._losses(store, name, at, found, back)

    cdef int _losses(self, FileStore store, str name, uint64_t at, uint64_t found, uint64_t back) except -1:
        """Every one is said, and nothing is said that is not so."""
        told, missing = set(), []
        for first, last in store.losses.ranges:
            told.update(range(first, last + 1))
        missing = [seq for seq in self._live if not store.exists(seq)]
        silent = [seq for seq in missing if seq not in told]
        if silent and not store.torn_seq:
            return self._say(name, at, f"{silent[:9]} are lost, and nobody says so")
        if any([store.exists(seq) for seq in told]):
            return self._say(name, at, "a message is said to be lost, and is there")
        if back and not store.damage and not store.torn_seq:
            return self._say(name, at, "removed messages are there again, and nobody says so")
        if len(missing) > 1:
            return self._note(f"{len(missing)} messages lost")
        return self._note("1 message lost" if missing else "removed ones are back" if back else "noticed")


cdef bint _same(const Known* known, const Record* record) noexcept:
    if known.data == NULL or known.ts_ns != record.ts_ns or known.subject_len != record.subject_len:
        return False
    if known.hdr_len != record.hdr_len or known.body_len != record.body_len:
        return False
    return (memcmp(known.data, record.subject, known.subject_len) == 0
            and memcmp(known.data + known.subject_len, record.hdr, known.hdr_len) == 0
            and memcmp(known.data + known.subject_len + known.hdr_len, record.body, known.body_len) == 0)

"""Renewing a log, for a repair: what lives in its oldest segments moves to new ones, and the old ones leave.

It is compaction that insists. So there is nothing here that a crash could meet halfway: whatever part of it is done,
the log is one that a start takes. What damage took is no part of the index, and does not move; nor is it missed later,
for what is named missing lies between segments that are there.

The caller has the store to itself: these functions wait for the disk.
"""

from libc.stdint cimport uint64_t

from millpond.store.api cimport Record
from millpond.store.file_store cimport FileStore

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.segment import segment_number
from millpond.store.space import no_room

cdef uint64_t STEP_BYTES = limits.COMPACT_STEP_BYTES


def read_all(FileStore store):
    """Read every live message: one that does not verify is lost from here on, and in `store.losses`."""
    cdef uint64_t stream_seq = store.index.next_live(0)
    cdef Record record
    while stream_seq:
        store.load(stream_seq, &record, True)
        stream_seq = store.index.next_live(stream_seq + 1)


def make_plain(FileStore store, names):
    """Packed segments become plain ones, in new files, before anything else is done with the log."""
    for name in names:
        number = segment_number(name)
        if number is not None:
            store._repacker.want_plain(number)
    store._cache.packer.drain()


def renew(FileStore store, uint64_t through):
    """Every segment up to this generation leaves the log (0: none), which goes on in a new one. Durable when it
    returns. Raises StoreError or OSError when the disk refuses; what was done so far is whole."""
    assert not store.pins, "nobody else reads"
    store._ready()
    store.last_raised()                            # a record in a new segment: behind it nothing is missed
    _commit(store)
    store._compactor.insist(through)
    try:
        while store._compactor.insists():
            store.position += store._compactor.step(STEP_BYTES)
            store._committer.enlist(store._writer)
            _commit(store)
    finally:
        store._compactor.insist(0)


cdef int _commit(FileStore store) except -1:
    store._committer.drain()
    if store.failure:
        raise StoreError(store.failure)
    if store._writer.stalled:
        raise no_room(store.log.directory)
    return 0


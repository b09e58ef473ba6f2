"""The witness: what the log's own files cannot say when they are missing.

A segment's successor knows where the segment ends, and that it was there. The newest one has no successor: when its
file is gone, or cut, or the one of last week, the log looks as if it had never been longer. So the store writes down
which segment is the newest, how far it was committed, and the last sequence: soon after a commit, once for all that come
meanwhile, so that a commit does not cost more. That is never ahead of what is on disk, for it is written behind the
commit; it may be behind, for nobody waits until it is on disk. So it can say that something is missing, and is silent
otherwise. A log without it is read as one was before there were witnesses.
"""

import logging

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from millpond.store.checksum cimport crc32c
from millpond.store.committer cimport Committer
from millpond.store.disk cimport Disk
from millpond.store.segment_log cimport SegmentLog

from millpond.store.directory import WITNESS
from millpond.store.space import is_full, is_shortage

logger = logging.getLogger("millpond")

cdef enum:
    MAGIC = 0x5457504D                   # "MPWT"
    VERSION = 1

assert sizeof(Witness) == 64, "the format's row"


cdef bint witness_take(const char* data, size_t n, Witness* out) noexcept:
    cdef const Witness* row = <const Witness*>data
    if n < sizeof(Witness) or row.magic != MAGIC or row.version != VERSION \
            or row.crc != crc32c(0, row, sizeof(Witness) - 4):
        return False
    memcpy(out, row, sizeof(Witness))
    return True


cdef int witness_read(Disk disk, str directory, Witness* out) except -1:
    cdef Witness row
    cdef int fd = -1
    try:
        fd = disk.open(directory, WITNESS, False)
        witness_take(<const char*>&row, disk.read(fd, <char*>&row, sizeof(Witness), 0), out)
    except OSError as error:
        if is_shortage(error):
            raise
    finally:
        if fd >= 0:
            disk.close(fd)
    return 0


cdef int testify(SegmentLog log, Committer committer, uint64_t last_seq) except -1:
    cdef Witness row
    if log.committed_upto.generation == 0 or not log.drops_pages:     # what was written may not be on disk
        return 0
    memset(&row, 0, sizeof(Witness))
    row.magic, row.version, row.identity = MAGIC, VERSION, log.identity
    row.generation, row.end, row.last_seq = log.committed_upto.generation, log.committed_upto.offset, last_seq
    row.crc = crc32c(0, &row, sizeof(Witness) - 4)
    try:
        committer.note(f"{log.directory}/{WITNESS}", (<const char*>&row)[:sizeof(Witness)], 0)
    except OSError as error:
        if not is_full(error):
            logger.warning("%s/%s cannot be written: %s", log.directory, WITNESS, error)
    return 0

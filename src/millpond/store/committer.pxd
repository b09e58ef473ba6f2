# Group commit: whoever has bytes for the disk enlists; one `run()` a turn writes them and asks the
# sync worker for one fdatasync per file, one in flight per file, while the next batch gathers.
# The worker is a plain thread without Python state; it owns nothing and answers through `event_fd`.
from libc.stdint cimport int64_t, uint64_t

cdef enum Tier:
    WRITTEN = 0      # survives our death: committed after write()
    SYNCED = 1       # survives power loss: committed after fdatasync

cdef class Target:
    # A file with buffered bytes. Subclasses: file store, consumer journal, catalog.
    cdef bint enlisted               # waiting for run()
    cdef bint syncing                # one sync in flight
    # Hands the buffered bytes to the kernel. Returns the descriptor to sync, or -1 when nothing needs it.
    cdef int write(self) except -2
    # The sync that was asked for after the last write() is done; error is an errno, 0 = success.
    cdef int synced(self, int error) except -1
    # tier WRITTEN: called right after write() instead.
    # Called in write(): `fd` (a directory, a sealed segment) is synced before the descriptor that write() returns.
    cdef list _first                 # descriptors given to sync_first by the write() that runs
    cdef int _syncs_left, _sync_error
    cdef int sync_first(self, int fd) except -1

cdef class Committer:
    cdef readonly Tier tier
    cdef readonly int event_fd       # readable when syncs are done; register it with the reactor
    cdef readonly uint64_t syncs, sync_ns_total
    cdef readonly bint draining      # drain() runs: work that can wait for another turn should
    cdef list _enlisted              # [Target] for the next run
    cdef dict _in_flight             # {ticket: Target}
    cdef dict _unsynced              # sync "interval": {(device, inode): a descriptor of our own}
    cdef bint _interval
    cdef uint64_t _tickets
    cdef void* _worker
    cdef int _submit(self, Target target, int fd) except -1
    cdef int _remember(self, int fd) except -1
    cdef int _answered(self, Target target, int error) except -1
    cdef int enlist(self, Target target) except -1
    cdef int run(self) except -1     # the commit phase of the turn
    cpdef int collect(self) except -1  # completions -> Target.synced; called when event_fd is readable
    cpdef int drain(self) except -1    # blocks until everything enlisted is committed (stop, tests)
    # sync "interval": what was written since the last call is synced, by the worker or (blocking) at once
    cpdef int begin_sync_written(self) except -1
    cpdef int sync_written(self) except -1
    cpdef int close(self) except -1

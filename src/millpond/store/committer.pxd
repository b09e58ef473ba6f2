# Group commit: whoever has bytes for the disk enlists; one `run()` a turn writes them and asks the
# sync worker for one fdatasync per file, one in flight per file, while the next batch gathers.
# The worker is a few plain threads without Python state; it owns nothing and answers through `event_fd`. Syncs of one
# run end in any order: whoever depends on two files waits for both.
from libc.stdint cimport int64_t, uint64_t

from millpond.store.closer cimport Closer
from millpond.store.disk cimport Disk
from millpond.store.maker cimport Maker

cdef enum Tier:
    WRITTEN = 0      # survives our death: committed after write()
    SYNCED = 1       # survives power loss: committed after fdatasync

# Every one of these callables is called with `failure`; what they raise is logged.
cpdef int tell_all(list everyone, str failure) except -1

cdef class Target:
    # A file with buffered bytes. Subclasses: file store, consumer journal, catalog, names.
    cdef bint enlisted               # waiting for run()
    cdef bint syncing                # one sync in flight
    cdef bint stalled                # waits for room on the disk
    cdef bint insists                # synced in the tier WRITTEN too, unless nothing ever is
    cdef bint held                   # waits for go_on()
    cdef bint gone                   # let go: nothing of it is written or told any more
    cdef bint write_failed           # synced() tells of a write, not of a sync
    cdef bint refused                # what it has put is not taken by a full disk, and waits
    cdef bint owes_testimony         # testify_later() was called
    cdef object _let_go              # called when no sync of it is in flight
    cdef Target _behind              # enlisted when a commit of this one has ended, or has come to nothing; or None
    # Hands the buffered bytes to the kernel. Returns the descriptor to sync, or -1 when nothing needs it. Raises
    # OSError when the disk is full, and can be called again then.
    cdef int write(self) except -2
    # The sync that was asked for after the last write() is done; error is an errno, 0 = success.
    cdef int synced(self, int error) except -1
    # tier WRITTEN: called right after write() instead, but for a target that insists.
    # Called in write(): `fd` (a directory, a sealed segment) is synced as well as the descriptor that write() returns.
    cdef list _others                # descriptors given to sync_also by the write() that runs
    cdef list _sync_fds              # descriptors that the commit under way syncs
    cdef void* _writes               # what it has put: sync_write, the first and the last one
    cdef void* _last_write
    cdef int _into                   # the descriptor that all of it goes to; -1: there are several
    cdef size_t put_size             # of all of it
    cdef int _syncs_left, _sync_error, _no_room
    cdef int64_t _asked_ns           # when a worker was asked last
    cdef int sync_also(self, int fd) except -1
    # What it has put was refused for want of room. True: it is forgotten, and write() called again when there is some.
    cdef bint writes_anew(self) except *
    # Writes down beside its file how far that was committed (witness.pyx).
    cdef int testify(self) except -1

cdef class Notes(Target):
    cdef list _waiting
    cpdef int when_written(self, object done) except -1      # done(""), whatever became of them

cdef class Committer:
    cdef readonly Tier tier
    cdef readonly Disk disk          # for all who commit
    cdef readonly int event_fd       # readable when syncs are done; register it with the reactor
    cdef readonly uint64_t syncs, sync_ns_total
    cdef readonly bint draining      # drain() runs: work that can wait for another turn should
    cdef readonly Closer closer      # of removed files; collected together with syncs
    cdef readonly Maker maker        # of new files
    cdef public object space         # space.Space of the store directory
    cdef list _stalled               # [Target] that wait for room
    cdef list _enlisted              # [Target] for the next run
    cdef dict _in_flight             # {ticket: Target}
    cdef list _owing                 # [Target] that owe their testimony
    cdef public object on_owing      # called when the first one does: testify() is to be called soon
    cdef dict _unsynced              # sync "interval": {(device, inode): a descriptor of our own}
    cdef bint _interval
    cdef readonly bint ever_syncs
    cdef uint64_t _tickets
    cdef void* _worker
    # For write(): these bytes are copied, and written by a worker before it syncs; at once where nothing is synced. The
    # disk may stand still: whoever waits for it is no loop. Raises MemoryError, or OSError.
    cdef int put(self, Target target, int fd, const char* data, size_t n, uint64_t offset) except -1
    cpdef int put_bytes(self, Target target, int fd, bytes data, uint64_t offset) except -1
    # What was put since the last commit is not wanted.
    cdef int forget(self, Target target) noexcept
    cdef bint _defers(self, Target target) noexcept
    # Something that was asked of the disk is not answered for so long that the loop asks it for nothing it would wait for.
    cdef bint stands_still(self) noexcept
    # Does it not, now? Who is about to make or to remove files asks: the disk is tried, if it has not just answered.
    cpdef bint moves(self) except *
    cdef int64_t _answered_ns        # when it did
    cdef readonly uint64_t made_later_bytes   # of segments that were begun meanwhile
    cdef list _awaiting               # callables
    cpdef int when_it_moves(self, object done) except -1     # done("") at once, or when it no longer does
    cdef uint64_t _told_still_ns     # when a line in the log last said so
    cdef int _tell_still(self, int64_t took_ns) except -1
    cdef list _refused               # [Target] whose writes wait for room
    cdef int _add(self, Target target, int fd, const char* path, const char* data, size_t n, uint64_t offset) except -1
    cdef int _begin(self, Target target, list fds) except -1
    cdef int _begin_syncs(self, Target target) except -1
    cdef int _submit(self, Target target, int fd, void* writes) except -1
    cdef int _remember(self, int fd) except -1
    cdef int _answered(self, Target target, int fd, int error, bint refused) except -1
    cdef int _not_taken(self, Target target) except -1
    cdef bint _is_given(self, object error) except *
    cdef int enlist(self, Target target) except -1
    cdef int stall(self, Target target) except -1            # enlist it when there may be room on the disk again
    # Nothing of it is written until go_on(): what it depends on is not durable yet.
    cdef int hold(self, Target target) except -1
    cdef int go_on(self, Target target) except -1
    # Nothing of it is written or told from here; `then()` when its descriptors may be closed.
    cdef int let_go(self, Target target, object then) except -1
    cdef int _write(self, Target target) except -2
    # Everyone who waits for room tries again. Called while the disk is full, and when it no longer is.
    cpdef int retry(self) except -1
    # The commit phase of the turn. Returns 1 when a target wants to write more in the next one. What one target raises is
    # its own: it is logged, and the others go on; so in collect().
    cdef int run(self) except -1
    cdef int _run(self) except -1
    cdef int _commit(self, Target target) except -1
    cpdef int collect(self) except -1  # completions -> Target.synced; called when event_fd is readable
    # It is enlisted again when the next commit of `first` has ended, whatever comes of it.
    cdef int follow(self, Target target, Target first) except -1
    cdef int _tell_behind(self, Target target) except -1
    # Its testify() is called soon, once for many commits.
    cdef int testify_later(self, Target target) except -1
    # Of so many targets at most. Returns whether others owe theirs still.
    cpdef bint testify(self, size_t most=*) except *
    cdef Notes _notes                  # what testify() gathers
    cdef list _noting                  # [Notes] that a worker may be at
    # For testify() of a target: a worker puts this there, soon; at once where nobody asked for all testimonies. What it
    # finds no place for is not known later.
    cpdef int note(self, str path, bytes data, uint64_t offset) except -1
    cpdef list noting(self)            # what a worker is at: who removes a directory waits for it
    cdef int64_t _sync_ns              # how long a sync takes, of late
    cdef bint waits_longer(self, int64_t ns) noexcept      # for a sync that takes longer than this, and will end soon
    cdef int _finish(self) except -1
    cpdef int drain(self) except -1    # blocks until everything enlisted is committed (stop, tests)
    # The workers sync these, one or more, though nothing was written by it; wait_for() blocks until synced() was told.
    cdef int sync_beside(self, Target target, list fds) except -1
    cdef int wait_for(self, Target target) except -1
    # sync "interval": what was written since the last call is synced, by the worker or (blocking) at once
    cpdef int begin_sync_written(self) except -1
    cpdef int sync_written(self) except -1
    cpdef int close(self) except -1

# Journal of all consumers of one stream: two fixed file names, checkpoint plus records, swapped when big.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.committer cimport Committer, Target
from millpond.store.consumer_ops cimport OpLog
from millpond.store.consumer_state cimport ConsumerState
from millpond.store.file_store cimport FileStore

cdef class Frame:                                    # on its way to the file
    cdef bytes payload
    cdef bint begins, goes_on                        # a checkpoint with it, after it
    cdef uint64_t needs, position                    # of the stream's log, of ours

cdef class ConsumerJournal(Target):
    cdef readonly OpLog log
    cdef readonly uint64_t committed_position        # of log.position
    cdef public object on_committed, on_failed       # callable() or None, loop thread; failed: until a restart
    cdef readonly str failure                        # "" = healthy
    cdef readonly uint64_t generation
    cdef Committer _committer
    cdef FileStore _store                            # whose messages the states are about; None: nothing waits for it
    cdef Frame _sealed                               # the next one to be written; None: what is gathered becomes one
    cdef object _files                               # consumer_file.JournalFiles
    cdef dict _states, _configs, _ids                # by name, by name, name by id
    cdef uint32_t _next_id
    cdef uint64_t _written_position, _written_generation
    cdef uint64_t _proven_generation, _proven_end    # what is on disk: which file, up to where
    cdef uint64_t _file_bytes, _checkpoint_bytes
    cdef list _unwritten                             # [ConsumerState] that a checkpoint is still to have; None: none is made
    cdef public size_t step_bytes                    # of a checkpoint, in one turn
    cdef readonly uint64_t checkpoint_steps          # writes that were a part of one
    cdef bint _swap_next, _closed
    cdef int _errors
    # New or recovered state by consumer name. `config` is opaque JSON kept with it.
    cpdef ConsumerState open_consumer(self, str name, bytes config)
    cpdef int set_config(self, str name, bytes config) except -1
    cpdef int delete_consumer(self, str name) except -1
    cpdef uint64_t needs(self) noexcept
    cpdef dict recovered(self)                       # {name: (config bytes, ConsumerState)} found on disk
    cpdef int hold(self) except -1                   # nothing is written until go_on()
    cpdef int go_on(self) except -1
    cpdef int close(self) except -1
    cpdef int discard(self) except -1                # the same, without a write: its files are about to be removed

    cdef int _end(self) except -1
    cdef int _put_open(self, uint32_t id, bytes name, bytes config) except -1
    cdef int _replay(self, bytes frame) except -1
    cdef int _put_sealed(self) except -1
    cdef bint _must_wait(self) except *
    cdef bint _seal(self) except *                   # False: the other file is still too long for a checkpoint
    cdef int _begin_checkpoint(self) except -1
    cdef bint _gather(self) except -1                # True: something is left
    cdef int _start_over(self) except -1
    cdef size_t _replay_op(self, const char* at, size_t left) except 0
    cdef size_t _replay_open(self, const char* at, size_t left) except 0

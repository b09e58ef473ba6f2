# What a stream owes to those who asked: answers to publishes, confirmations, callbacks. They wait for the commit.
from libc.stdint cimport uint32_t, uint64_t
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Turn
from millpond.store.api cimport Store
from millpond.store.consumer_journal cimport ConsumerJournal
from millpond.jetstream.acks cimport OwedReplies
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.jetstream.listeners cimport Listeners
from millpond.jetstream.pub_ack cimport AnswerRing
from millpond.jetstream.pump cimport CommitPhase
from millpond.jetstream.purging cimport Removals

cdef class Answering(Host):
    cdef readonly str name
    cdef readonly Store store
    cdef readonly ConsumerJournal journal    # None: memory stream
    cdef readonly Router router
    cdef readonly Turn turn
    cdef readonly CommitPhase commit_phase
    cdef Listeners _listeners                # the consumers

    # `callback(failure)` runs when everything done to this stream (store and journal) until now is committed, or when
    # the stream is deleted: "". Where the disk has failed it says why that never happens.
    cpdef int after_commit(self, object callback) except -1
    # `body`, a constant, or an empty message goes to `reply` at that time; `journaled`: the consumer journal counts too.
    cdef int reply_after_commit(self, const char* reply, uint32_t reply_len, bint journaled, const char* body=*,
                                uint32_t body_len=*) except -1
    # A message that leaves when everything stored until now is committed.
    cdef int tell_after_commit(self, bytes subject, bytes hdr) except -1

    # --- private, shared with StreamCore and Stream ---
    cdef Ingest _ingest
    cdef AnswerRing _answers
    cdef OwedReplies _owed
    cdef Removals _removals                  # acknowledgements wait for some of them
    cdef list _after
    cdef object _commit_store                # memory stores that commit on request
    cdef uint64_t _ready_seq                 # consumers were told that messages up to here are ready
    cdef bint _settling_queued, _appending, _releasing, _stopped
    cdef bint _leaving                       # deleted: what was owed for is no longer waited for
    cdef int _release(self) except -1
    cdef bint _release_answers(self, uint32_t most) except *
    cdef int _send(self, const char* reply, uint32_t reply_len, const char* body, uint32_t body_len) except -1
    cdef int _run_after_commit(self) except -1
    cdef str _lost(self, uint64_t position, uint64_t journaled)
    cdef int _give_up_owed(self) except -1
    cdef int _leave(self) except -1          # answer all that is owed: what it is owed for goes with the stream

# Direct gets of one stream: one message or a batch, answered as messages with headers.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Filters, Record, Store
from millpond.store.lasts cimport Lasts
from millpond.store.search cimport Search
from millpond.wire.message cimport Msg

cdef class Job:
    """One request under way."""
    cdef bytes reply
    cdef size_t size                 # what it is counted for
    cdef bint batched, multi, no_hdr, direct
    cdef uint64_t next_seq, batch, sent, last_seq, pending, up_to_seq, valid_through
    cdef int64_t bytes_left
    cdef Filters filters
    cdef Search search               # None: what comes next is known at once
    cdef bint searching              # for next_seq
    cdef uint64_t count_at, count_end        # what is still to be counted into `pending`; 0: nothing
    cdef bint ending                 # all is sent
    cdef Lasts lasts                 # multi_last: what finds them; None: they are found
    cdef list seqs                   # of these, what is left begins at `at`
    cdef uint64_t least              # and none below
    cdef size_t at

cdef class Steps(Phase):
    """Long batches go on in the pump phase, a share each turn."""
    cdef DirectGets gets

cdef class DirectGets(Sink):
    cdef bytes _name                 # of the stream
    cdef bytes _begins               # what an answer says of it
    cdef Store _store
    cdef Router _router
    cdef Pump _pump
    cdef Turn _turn
    cdef list _running, _parked      # jobs with work; jobs that wait for a cold read
    cdef size_t _held                # bytes, of those that run
    cdef bint _turned_away           # some were, and it was said
    cdef Steps _steps
    cdef uint64_t _looks             # at messages and subjects, that are left for jobs in this turn
    cdef int warm(self) except -1
    cdef int stop(self) except -1
    cdef int run_steps(self) except -1
    cdef bytes _check(self, const Msg* msg, dict request)
    cdef bytes _check_by_subject(self, Subscription sub, const Msg* msg, dict request)
    cdef int _begin(self, Job job, dict request) except -1
    cdef Job _job(self, const Msg* msg, dict request)
    cdef int _begin_multi(self, Job job, dict request) except -1
    cdef int _go_on(self, Job job) except -1
    cdef int _listed(self, Job job) except -1
    cdef int _count(self, Job job) except -1
    cdef bint _is_long(self, Job job) noexcept
    cdef int _advance(self, Job job) except -1
    cdef int _step(self, Job job, uint64_t budget) except -1
    cdef bint _find(self, Job job, uint64_t* stream_seq) except -1
    cdef int _answer(self, Job job, Record* record) except -1
    cdef int _finish(self, Job job) except -1
    cdef bint _answer_key(self, Subscription sub, const Msg* msg) except -1
    cdef int _send(self, const char* reply, uint32_t reply_len, const Record* record, Job job) except -1
    cdef uint32_t _head(self, char* place, const Record* record, Job job) noexcept
    cdef int _finally(self, Job job, bytes block) except -1
    cdef int _status(self, const char* reply, uint32_t reply_len, bytes block) except -1

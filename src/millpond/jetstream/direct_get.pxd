# Direct gets of one stream: one message or a batch, answered as messages with headers.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Filters, Record, Store
from millpond.wire.message cimport Msg

cdef class Job:
    """One request under way."""
    cdef bytes reply
    cdef bint batched, multi, no_hdr, direct
    cdef uint64_t next_seq, batch, sent, last_seq, pending, up_to_seq, valid_through
    cdef int64_t bytes_left
    cdef Filters filters
    cdef list seqs                   # multi_last: what is left begins at `at`
    cdef size_t at

cdef class Steps(Phase):
    """Long batches go on in the pump phase, a share each turn."""
    cdef DirectGets gets

cdef class DirectGets(Sink):
    cdef str _name                   # of the stream
    cdef Store _store
    cdef Router _router
    cdef Pump _pump
    cdef Turn _turn
    cdef list _running, _parked      # jobs with work; jobs that wait for a cold read
    cdef Steps _steps
    cdef int warm(self) except -1
    cdef int stop(self) except -1
    cdef int run_steps(self) except -1
    cdef bytes _check(self, const Msg* msg, dict request)
    cdef bytes _check_by_subject(self, Subscription sub, const Msg* msg, dict request)
    cdef int _begin(self, bytes reply, dict request) except -1
    cdef Job _job(self, bytes reply, dict request)
    cdef int _begin_multi(self, bytes reply, dict request) except -1
    cdef int _advance(self, Job job) except -1
    cdef int _step(self, Job job, uint64_t budget) except -1
    cdef uint64_t _seq_of(self, Job job) except? 0
    cdef int _answer(self, Job job, Record* record) except -1
    cdef int _finish(self, Job job) except -1
    cdef int _status(self, bytes reply, bytes line) except -1

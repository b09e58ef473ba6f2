"""The stream, as its parts know it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.broker.timers cimport Timer
from millpond.broker.turn cimport Phase
from millpond.jetstream.pump cimport Settler
from millpond.store.api cimport Filters, StoreOwner
from millpond.wire.message cimport Msg


cdef class Host(Settler):
    """Override everything."""

    cdef uint64_t accept(self, const Msg* msg, bytes tail) except? 0:
        raise NotImplementedError(type(self).__name__)

    cdef Produced produce(self, const Msg* msg) except *:
        raise NotImplementedError(type(self).__name__)

    cdef object no_room(self, const Msg* msg, int64_t before):
        raise NotImplementedError(type(self).__name__)

    cdef int end_schedule(self, bytes subject) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int refuse(self, const Msg* msg, object error) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int tell_trace(self, const Msg* msg, object error) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int acknowledge(self, const char* reply, uint32_t reply_len, uint64_t stream_seq, bint duplicate,
                         bytes tail) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int answer(self, const char* reply, uint32_t reply_len, bytes body) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int batch_abandoned(self, bytes batch_id, str reason) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int answer_later(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int go_on_later(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int go_on(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int purged(self, Filters filters, uint64_t first_left) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int store_removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len,
                           uint64_t size) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef bint store_expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        raise NotImplementedError(type(self).__name__)

    cdef int store_committed(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int store_warm(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int store_failed(self, str reason) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int store_damaged(self, uint64_t stream_seq, str reason) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int expire(self) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class Owner(StoreOwner):
    """What the store reports, handed to the stream."""

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t size) except -1:
        return self.host.store_removed(stream_seq, subject, subject_len, size)

    cdef bint expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        return self.host.store_expiring(stream_seq, subject, subject_len)

    cdef int committed(self) except -1:
        return self.host.store_committed()

    cdef int warm(self) except -1:
        return self.host.store_warm()

    cdef int failed(self, str reason) except -1:
        return self.host.store_failed(reason)

    cdef int damaged(self, uint64_t stream_seq, str reason) except -1:
        return self.host.store_damaged(stream_seq, reason)


cdef class ExpiryTimer(Timer):
    """Fires when the next message reaches its end."""

    cdef int fire(self, int64_t now_ns) except -1:
        return self.host.expire()


cdef class GoingOn(Phase):
    """Runs in the pump phase."""

    cdef int run(self) except -1:
        return self.host.go_on()

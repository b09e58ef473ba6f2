"""From a subject to sinks: every plain subscriber, one member of each queue group."""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t
from millpond.broker.sink cimport Sink, Subscription
from millpond.subjects.sublist cimport Found, Match, Sublist
from millpond.wire.message cimport Msg


cdef int _route_found(Found* found, const Msg* msg, Sink source) except -1:
    cdef Subscription sub
    cdef uint32_t i
    cdef int taken = 0
    if found.count == 1:
        sub = <Subscription>found.plain[0]
        return 0 if sub.closed else sub.sink.deliver(sub, msg, source)
    for i in range(found.count):                   # whoever takes it may end the subscription of another one
        Py_INCREF(<object>found.plain[i])
    try:
        for i in range(found.count):
            sub = <Subscription>found.plain[i]
            if not sub.closed:
                taken += sub.sink.deliver(sub, msg, source)
    finally:
        for i in range(found.count):
            Py_DECREF(<object>found.plain[i])
    return taken


cdef class Router:
    """One account's subject space."""

    def __init__(self):
        self.sublist = Sublist()
        self._random = 0x9E3779B97F4A7C15

    cdef int route(self, const char* subject, uint32_t subject_len, const Msg* msg, Sink source) except -1:
        cdef Found found
        cdef Match match = self.sublist.resolve(subject, subject_len, &found)
        cdef Py_ssize_t i
        cdef int taken = 0
        cdef Subscription sub
        if match is None:
            return _route_found(&found, msg, source)
        for i in range(PyList_GET_SIZE(match.plain)):
            sub = <Subscription>PyList_GET_ITEM(match.plain, i)
            if not sub.closed:
                taken += sub.sink.deliver(sub, msg, source)
        for i in range(PyList_GET_SIZE(match.groups)):
            taken += self._route_group(<list>PyList_GET_ITEM(match.groups, i), msg, source)
        return taken

    cdef int _route_group(self, list members, const Msg* msg, Sink source) except -1:
        cdef Py_ssize_t size = PyList_GET_SIZE(members), tried, start
        cdef Subscription sub
        start = <Py_ssize_t>(self._next_random() % <uint64_t>size) if size > 1 else 0
        for tried in range(size):
            sub = <Subscription>PyList_GET_ITEM(members, (start + tried) % size)
            if not sub.closed and sub.sink.deliver(sub, msg, source):
                return 1
        return 0

    cdef int route_traced(self, const char* subject, uint32_t subject_len, const Msg* msg, Sink source,
                          object trace) except -1:
        cdef Match match = self.sublist.match(subject, subject_len)
        cdef Subscription sub
        cdef int taken = 0
        for sub in match.plain:
            if not sub.closed:
                taken += sub.sink.deliver_traced(sub, msg, source, trace)
        for members in match.groups:
            taken += self._route_group_traced(<list>members, msg, source, trace)
        return taken

    cdef int _route_group_traced(self, list members, const Msg* msg, Sink source, object trace) except -1:
        cdef Py_ssize_t size = PyList_GET_SIZE(members), tried, start
        cdef Subscription sub
        start = <Py_ssize_t>(self._next_random() % <uint64_t>size)
        for tried in range(size):
            sub = <Subscription>members[(start + tried) % size]
            if not sub.closed and sub.sink.deliver_traced(sub, msg, source, trace):
                return 1
        return 0

    cdef uint64_t _next_random(self) noexcept:
        self._random ^= self._random << 13
        self._random ^= self._random >> 7
        self._random ^= self._random << 17
        return self._random

    cpdef int publish(self, bytes subject, bytes body, bytes reply=b"", bytes headers=b"") except -1:
        cdef Msg msg
        msg.subject, msg.subject_len = <const char*>subject, <uint32_t>len(subject)
        msg.reply, msg.reply_len = <const char*>reply, <uint32_t>len(reply)
        msg.hdr, msg.hdr_len = <const char*>headers, <uint32_t>len(headers)
        msg.body, msg.body_len = <const char*>body, <uint32_t>len(body)
        return self.route(msg.subject, msg.subject_len, &msg, None)

    cdef int add(self, Subscription sub) except -1:
        self.sublist.insert(sub)
        if self.imports is not None:
            self.imports.added(sub)
        return 0

    cdef int drop(self, Subscription sub) except -1:
        self.sublist.remove(sub)
        if self.imports is not None:
            self.imports.dropped(sub)
        return 0

    cpdef Subscription subscribe(self, bytes subject, Sink sink, bytes queue=b"", int tag=0):
        cdef Subscription sub = Subscription(sink, subject, queue, b"", tag)
        self.add(sub)
        return sub

    cpdef int unsubscribe(self, Subscription sub) except -1:
        sub.closed = True
        return self.drop(sub)

    cdef bint has_interest(self, const char* subject, uint32_t subject_len) except -1:
        return self.sublist.has_interest(subject, subject_len)

    def py_has_interest(self, bytes subject):
        """Does anybody listen on this literal subject?"""
        return bool(self.has_interest(subject, <uint32_t>len(subject)))

"""Pull requests that wait for messages, and every status line that can end one (reference 4.3).

A linked list, so that a request that got a message and wants more goes to its end at once. Requests expire in
any order; `due_ns` is never later than the first of it, and is found anew by `sweep`.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.jetstream.notices cimport NOBODY, Notices
from millpond.jetstream.pull_priority cimport PASS, WRONG, Moment, Priority
from millpond.jetstream.pull_request cimport Waiting, read_request

from millpond.jetstream.go_json import duration_text
from millpond.jetstream.pull_text import BadRequest

cdef int64_t FOR_EVER_NS = 2**62


cdef class PullQueue:
    """The waiting requests of one consumer; at most max_waiting of them."""

    def __init__(self, Notices notices, Priority priority):
        self._notices, self._priority = notices, priority

    cdef int configure(self, object config) except -1:
        self._closed = bool(config.deliver_subject)
        self._max_waiting, self._max_batch = max(config.max_waiting, 0), config.max_batch
        self._max_expires_ns, self._max_bytes = config.max_expires, config.max_bytes
        return 0

    # --- coming ---

    cdef int add(self, bytes reply, const char* body, uint32_t body_len, uint64_t ready, Moment* at) except -1:
        cdef Waiting request
        cdef str refusal
        if self._closed:
            return self._refuse(reply, "409 Consumer is push based")
        try:
            request = read_request(body, body_len)
        except BadRequest as error:
            return self._refuse(reply, f"400 Bad Request - {error}")
        refusal = self._refusal(request, ready, at)
        if refusal is not None:
            return self._refuse(reply, refusal)
        if self._full():
            if request.heartbeat_ns <= 0:
                return self._refuse(reply, "409 Exceeded MaxWaiting")
            return 0                         # it will notice by the missing heartbeats; an answer makes it spin
        return self._admit(request, reply, at.now_ns)

    cdef int _refuse(self, bytes reply, str line) except -1:
        self._notices.status(reply, line)
        return 0

    cdef bint _full(self) noexcept:
        return self._max_waiting and self.count >= self._max_waiting

    cdef str _refusal(self, Waiting asked, uint64_t ready, Moment* at):
        """Why not, in nats-server's order; None: it may wait here when there is room."""
        cdef str refusal
        if 0 < self._max_batch < asked.batch_left:
            return f"409 Exceeded MaxRequestBatch of {self._max_batch}"
        if 0 < self._max_expires_ns < asked.expires_ns:
            return f"409 Exceeded MaxRequestExpires of {duration_text(self._max_expires_ns)}"
        if 0 < self._max_bytes < asked.bytes_left:
            return f"409 Exceeded MaxRequestMaxBytes of {self._max_bytes}"
        refusal = self._priority.refusal(asked, at.now_ns)
        if refusal is not None:
            return refusal
        if self._full():
            self.sweep(False, at)
        if asked.no_wait:
            self.last_ns = at.now_ns
            if ready == 0 and asked.expires_ns == 0:
                return "404 No Messages"
            if ready and <int64_t>ready < self._wanted():
                return "408 Requests Pending"
        return None

    cdef int _admit(self, Waiting request, bytes reply, int64_t now_ns) except -1:
        request.reply, request.bytes_left = reply, max(request.bytes_left, 0)
        request.heartbeat_ns = max(request.heartbeat_ns, 0)
        if request.expires_ns:
            request.expires_ns = max(now_ns + min(request.expires_ns, FOR_EVER_NS), 1)
        if request.heartbeat_ns:
            request.heartbeat_due_ns = now_ns + request.heartbeat_ns
        self.last_ns = now_ns
        self._append(request)
        self.count += 1
        self.no_wait += request.no_wait
        self._due(request.expires_ns)
        self._due(request.heartbeat_due_ns)
        return 1

    cdef int64_t _wanted(self) noexcept:
        """Messages that the waiting requests still want."""
        cdef int64_t wanted = 0
        cdef Waiting request = self._head
        while request is not None:
            wanted += max(request.batch_left, 0)
            request = request.next
        return wanted

    # --- a message ---

    cdef Waiting take(self, int64_t size, Moment* at):
        cdef Waiting request
        cdef size_t passed = 0
        cdef int verdict
        while self._head is not None and passed < self.count:
            request = self._head
            if request.expires_ns and at.now_ns >= request.expires_ns:
                self._ended(request, "408 Request Timeout")
                self._remove(None, request)
                continue
            verdict = self._priority.judge(request, at)
            if verdict == PASS:
                self._cycle()
                passed += 1
            elif verdict == WRONG:
                self._ended(request, "423 Nats-Wrong-Pin-Id")
                self._remove(None, request)
            elif request.bytes_left and size > request.bytes_left:
                self._priority.rejected(request)
                self._ended(request, "409 Message Size Exceeds MaxBytes")
                self._remove(None, request)
            elif not self._listened(request):
                self._priority.rejected(request)
                self._remove(None, request)
            else:
                return self._fill(request, size, at.now_ns)
        return None

    cdef Waiting _fill(self, Waiting request, int64_t size, int64_t now_ns):
        """The request at the head gets this message; it goes to its end of the queue, or leaves."""
        if request.bytes_left:
            request.bytes_left -= size
            if request.bytes_left == 0:
                request.batch_left = 1
        request.batch_left -= 1
        request.delivered += 1
        if request.heartbeat_ns:
            request.heartbeat_due_ns = now_ns + request.heartbeat_ns
        if request.batch_left <= 0:
            self._remove(None, request)
        elif self.count > 1:
            self._cycle()
        return request

    cdef bint _listened(self, Waiting request) except *:
        cdef uint64_t generation = self._notices.router.sublist.generation
        if request.audience == NOBODY or request.seen_generation != generation:
            request.audience, request.seen_generation = self._notices.audience(request.reply), generation
        return request.audience != NOBODY

    cdef int untake(self, Waiting request, int64_t size) except -1:
        if request.batch_left <= 0:
            self._append(request)
            self.count += 1
            self.no_wait += request.no_wait
            self._due(request.expires_ns)
            self._due(request.heartbeat_due_ns)
        request.batch_left += 1
        request.delivered -= 1
        if request.bytes_left:
            request.bytes_left += size
        return 0

    # --- time ---

    cdef int sweep(self, bint end_of_stream, Moment* at) except -1:
        cdef Waiting before = None, request = self._head, following
        self.due_ns = 0
        while request is not None:
            following = request.next
            if request.expires_ns and at.now_ns >= request.expires_ns:
                self._ended(request, "408 Request Timeout")
                self._remove(before, request)
            elif end_of_stream and request.no_wait and (request.expires_ns == 0 or request.delivered > 0):
                self._notices.status(request.reply, "404 No Messages")
                self._remove(before, request)
            elif not self._listened(request):
                self._remove(before, request)
            else:
                if request.heartbeat_due_ns and at.now_ns >= request.heartbeat_due_ns:
                    self._notices.heartbeat(request.reply, at.consumer_seq, at.stream_seq, None)
                    request.heartbeat_due_ns = at.now_ns + request.heartbeat_ns
                self._due(request.expires_ns)
                self._due(request.heartbeat_due_ns)
                before = request
            request = following
        return 0

    cdef bint is_due(self, int64_t now_ns) noexcept:
        cdef Waiting request = self._head
        while request is not None:
            if 0 < request.expires_ns <= now_ns or 0 < request.heartbeat_due_ns <= now_ns:
                return True
            request = request.next
        return False

    cdef int _due(self, int64_t at_ns) except -1:
        if at_ns and (self.due_ns == 0 or at_ns < self.due_ns):
            self.due_ns = at_ns
        return 0

    cdef int _ended(self, Waiting request, str line) except -1:
        return self._notices.ended(request.reply, line, request.batch_left, request.bytes_left)

    cdef int end(self, str status) except -1:
        cdef Waiting request = self._head
        self._head = self._tail = None
        self.count = self.no_wait = 0
        self.due_ns = 0
        while request is not None:
            if status == "409 Server Shutdown":
                self._ended(request, status)  # what is left of it can be asked for elsewhere
            elif status:
                self._notices.status(request.reply, status)
            request = request.next
        return 0

    # --- the list ---

    cdef int _append(self, Waiting request) except -1:
        """At the end; with priorities at the end of its own."""
        cdef Waiting before = self._tail
        request.next = None
        if before is not None and self._priority.ordered and before.priority > request.priority:
            before = None
            while (self._head if before is None else before.next).priority <= request.priority:
                before = self._head if before is None else before.next
        if before is None:
            request.next, self._head = self._head, request
        else:
            request.next, before.next = before.next, request
        if request.next is None:
            self._tail = request
        return 0

    cdef int _remove(self, Waiting before, Waiting request) except -1:
        self.count -= 1
        self.no_wait -= request.no_wait
        if self.count == 0:
            self.due_ns = 0
        return self._unlink(before, request)

    cdef int _unlink(self, Waiting before, Waiting request) except -1:
        if before is None:
            self._head = request.next
        else:
            before.next = request.next
        if self._tail is request:
            self._tail = before
        request.next = None
        return 0

    cdef int _cycle(self) except -1:
        cdef Waiting request = self._head
        self._unlink(None, request)
        return self._append(request)

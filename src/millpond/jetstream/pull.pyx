"""Pull requests that wait for messages, and every status line that can end one (reference 4.3)."""

from libc.stdint cimport int64_t, uint64_t

from millpond.jetstream.notices cimport Notices

from millpond.jetstream.pull_request import BadRequest, format_duration, parse_pull


cdef class Waiting:
    """One pull request in the queue."""


cdef class PullQueue:
    """The waiting requests of one consumer; at most max_waiting of them."""

    def __init__(self, Notices notices):
        self.notices = notices
        self.waiting = []

    cdef int add(self, object config, bytes reply, bytes body, uint64_t ready, int64_t now_ns) except -1:
        cdef Waiting waiting
        try:
            asked = parse_pull(body)
        except BadRequest as error:
            self.notices.status(reply, f"400 Bad Request - {error}")
            return 0
        refusal = self._refusal(config, asked)
        if not refusal and config.max_waiting > 0 and len(self.waiting) >= config.max_waiting:
            self.sweep(False, now_ns)
        if not refusal and asked.no_wait:
            if ready == 0 and asked.expires == 0:
                refusal = "404 No Messages"
            elif 0 < ready < <uint64_t>self._wanted():
                refusal = "408 Requests Pending"
        if not refusal and config.max_waiting > 0 and len(self.waiting) >= config.max_waiting:
            if asked.idle_heartbeat:         # it will notice by the missing heartbeats; an answer makes it spin
                return 0
            refusal = "409 Exceeded MaxWaiting"
        if refusal:
            self.notices.status(reply, refusal)
            return 0
        waiting = Waiting()
        waiting.reply, waiting.batch_left, waiting.bytes_left = reply, asked.batch, max(asked.max_bytes, 0)
        waiting.no_wait, waiting.heartbeat_ns = asked.no_wait, max(asked.idle_heartbeat, 0)
        waiting.expires_ns = now_ns + asked.expires if asked.expires > 0 else 0
        waiting.heartbeat_due_ns = now_ns + waiting.heartbeat_ns if waiting.heartbeat_ns else 0
        self.waiting.append(waiting)
        return 1

    def _refusal(self, config, asked):
        """The caps of the consumer's configuration, in nats-server's order; "" = within them."""
        if config.max_batch > 0 and asked.batch > config.max_batch:
            return f"409 Exceeded MaxRequestBatch of {config.max_batch}"
        if config.max_expires > 0 and asked.expires > config.max_expires:
            return f"409 Exceeded MaxRequestExpires of {format_duration(config.max_expires)}"
        if config.max_bytes > 0 and asked.max_bytes > config.max_bytes:
            return f"409 Exceeded MaxRequestMaxBytes of {config.max_bytes}"
        return ""

    def _wanted(self):
        """Messages that the waiting requests still want."""
        wanted = 0
        for request in self.waiting:
            wanted += max((<Waiting>request).batch_left, 0)
        return wanted

    cdef Waiting take(self, int64_t size, int64_t now_ns):
        cdef Waiting request
        while self.waiting:
            request = self.waiting.pop(0)
            if request.expires_ns and now_ns >= request.expires_ns:
                self._ended(request, "408 Request Timeout")
            elif request.bytes_left and size > request.bytes_left:
                self._ended(request, "409 Message Size Exceeds MaxBytes")
            elif self.notices.listening(request.reply):
                if request.bytes_left:
                    request.bytes_left -= size
                    if request.bytes_left == 0:
                        request.batch_left = 1
                request.batch_left -= 1
                request.delivered += 1
                if request.heartbeat_ns:
                    request.heartbeat_due_ns = now_ns + request.heartbeat_ns
                if request.batch_left > 0:
                    self.waiting.append(request)
                return request
        return None

    cdef int sweep(self, bint end_of_stream, int64_t now_ns) except -1:
        cdef Waiting request
        cdef list kept = []
        for held in self.waiting:
            request = held
            if request.expires_ns and now_ns >= request.expires_ns:
                self._ended(request, "408 Request Timeout")
            elif end_of_stream and request.no_wait and (request.expires_ns == 0 or request.delivered > 0):
                self.notices.status(request.reply, "404 No Messages")
            elif self.notices.listening(request.reply):
                if request.heartbeat_due_ns and now_ns >= request.heartbeat_due_ns:
                    self.notices.heartbeat(request.reply, None)
                    request.heartbeat_due_ns = now_ns + request.heartbeat_ns
                kept.append(request)
        self.waiting = kept
        return 0

    def _ended(self, Waiting request, str line):
        self.notices.ended(request.reply, line, request.batch_left, request.bytes_left)

    cdef int64_t due_ns(self) noexcept:
        cdef int64_t due = 0
        cdef Waiting request
        for held in self.waiting:
            request = held
            if request.expires_ns and (due == 0 or request.expires_ns < due):
                due = request.expires_ns
            if request.heartbeat_due_ns and (due == 0 or request.heartbeat_due_ns < due):
                due = request.heartbeat_due_ns
        return due

    cdef int end(self, str status) except -1:
        for request in self.waiting:
            if status:
                self.notices.status((<Waiting>request).reply, status)
        self.waiting.clear()
        return 0

"""One epoll set for the data plane, one turn per readiness (design: one loop, one turn).

The set's descriptor is a reader of the running asyncio loop. When it becomes readable, `_on_ready` runs
turns: take in what the sockets have, let timers, commits and pumps run, flush. While traffic is recent it
polls a little longer (`spin_ns`) before it gives the loop back, unless it waits for a disk that takes longer than
that; one callback never takes more than a few milliseconds, so the rest of the program lives on. Works the same on
uvloop and on the standard loop.
"""

import logging

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from millpond.base import limits

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    ctypedef struct poller_event:
        uint64_t tag
        int what
    int POLLER_READ, POLLER_WRITE, POLLER_HANGUP
    int poller_open()
    int poller_add(int poller, int fd, int want, uint64_t tag)
    int poller_change(int poller, int fd, int had, int want, uint64_t tag)
    int poller_remove(int poller, int fd)
    int poller_wait(int poller, poller_event* out, int most)

cdef extern from "unistd.h" nogil:
    int close(int fd)

cdef int64_t INTAKE_NS = limits.TURN_INTAKE_NS_MAX
cdef double RETRY_S = 0.01               # a turn that failed must not spin

cdef enum:
    EVENTS_MAX = 256
    CALLBACK_NS_MAX = 2_000_000      # then the loop gets a round


cdef class Source:
    """Override `ready`."""

    cdef int ready(self, int what) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int go_on(self) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class CallbackSource(Source):
    """A descriptor whose readiness calls a Python function: the store's completions."""
    cdef object callback

    def __init__(self, callback):
        self.callback = callback

    cdef int ready(self, int what) except -1:
        self.callback()
        return 0


cdef class Reactor:
    """Made inside a running loop; `close` gives everything back."""

    def __init__(self, Broker broker, loop):
        self.broker = broker
        self.loop = loop
        self.poller = poller_open()
        if self.poller < 0:
            raise OSError("cannot make a descriptor set; the limit of open files may be reached")
        self.read_buffer = <char*>malloc(limits.READ_BUFFER_BYTES)
        if self.read_buffer == NULL:
            raise MemoryError(f"no memory for the read buffer of {limits.READ_BUFFER_BYTES} bytes")
        self.sources = {}
        self.unfinished = []
        self.spin_ns = broker.options.spin_ns
        self.running = True
        loop.add_reader(self.poller, self._on_ready)
        broker.turn.set_wake(self.schedule)
        self._arm()

    def __dealloc__(self):
        free(self.read_buffer)
        free(self._spare)

    cdef char* spare(self) except NULL:
        """Made for the first connection that needs it."""
        if self._spare == NULL:
            self._spare = <char*>malloc(limits.SPARE_BUFFER_BYTES)
            if self._spare == NULL:
                raise MemoryError(f"no memory for a buffer of {limits.SPARE_BUFFER_BYTES} bytes")
        return self._spare

    cdef int add(self, Source source, int fd, int want) except -1:
        self.last_tag += 1
        source.reactor, source.fd, source.tag, source.wanted = self, fd, self.last_tag, want
        if poller_add(self.poller, fd, want, source.tag) < 0:
            raise OSError(f"cannot watch descriptor {fd}")
        self.sources[source.tag] = source
        return 0

    cdef int want(self, Source source, int want) except -1:
        if source.wanted != want and source.tag in self.sources:
            if poller_change(self.poller, source.fd, source.wanted, want, source.tag) < 0:
                raise OSError(f"cannot watch descriptor {source.fd}")
            source.wanted = want
        return 0

    cdef int remove(self, Source source) except -1:
        if self.sources.pop(source.tag, None) is not None:
            poller_remove(self.poller, source.fd)
        return 0

    def watch(self, int fd, callback):
        """Call `callback()` in the turn whenever `fd` is readable. Returns a handle for `unwatch`."""
        source = CallbackSource(callback)
        self.add(source, fd, POLLER_READ)
        return source

    def unwatch(self, Source source):
        """Stop watching."""
        self.remove(source)

    # --- the turn ---

    cdef int later(self, Source source) except -1:
        if not source.unfinished:
            source.unfinished = True
            self.unfinished.append(source)
        return 0

    cdef bint _time_is_up(self) noexcept:
        return self.broker.clock.read_mono_ns() - self.broker.clock.mono_ns > INTAKE_NS

    cdef int _intake(self) except -1:
        """Input takes effect, for a limited time. Returns 0 when there was none."""
        cdef poller_event[EVENTS_MAX] events
        cdef int count, i, place
        cdef list unfinished = self.unfinished
        cdef Source source
        if unfinished:
            self.unfinished = []
            for source in unfinished:
                source.unfinished = False
                if self._time_is_up():
                    self.later(source)
                else:
                    self._hear(source, 0)
        count = poller_wait(self.poller, events, EVENTS_MAX)
        for i in range(count):
            place = (self.first + i) % count
            if i and self._time_is_up():
                self.first = place
                break
            source = self.sources.get(events[place].tag)
            if source is not None:
                self._hear(source, events[place].what)
        return 1 if count > 0 or unfinished else 0

    cdef int _hear(self, Source source, int what) except -1:
        """Its events, or (0) what it has read already. Its failure is its own."""
        try:
            if what:
                source.ready(what)
            else:
                source.go_on()
        except Exception:
            log.exception("a connection failed and is closed")
            self._give_up(source)
        return 0

    def _give_up(self, Source source):
        closer = getattr(source, "give_up", None)
        if closer is not None:
            closer()

    cdef int turn(self) except -1:
        """One turn. Bit 0: there was traffic; bit 1: work remains."""
        cdef int events, again
        self.broker.clock.tick()
        events = self._intake()
        again = self.broker.turn.finish()
        return (1 if events else 0) | (2 if again or self.unfinished else 0)

    cdef int _guarded_turn(self) except -1:
        """A turn that fails is logged and tried again in a moment: no connection hangs on another's fault."""
        self.turning = True
        try:
            return self.turn()
        except Exception:
            log.exception("a turn failed")
            self.loop.call_later(RETRY_S, self._on_ready)
            return 0
        finally:
            self.turning = False

    def _on_ready(self):
        """The loop's callback: turns until nothing is left, the spin is over, or the time is up."""
        cdef int64_t begin, last, now
        cdef int result
        self.scheduled = False
        if not self.running or self.held:
            return
        begin = last = self.broker.clock.read_mono_ns()
        while self.running:
            result = self._guarded_turn()
            now = self.broker.clock.read_mono_ns()
            if result & 1:
                last = now
            if now - begin > CALLBACK_NS_MAX:
                if result & 2:
                    self.schedule()
                break
            if result == 0 and (now - last >= self.spin_ns or self.broker.turn.waits_longer(self.spin_ns)):
                break
        if self.running:
            self._arm()

    def schedule(self):
        """Make a turn happen soon, from the loop. A turn that runs says itself what it leaves to do."""
        if not self.scheduled and self.running and not self.turning:
            self.scheduled = True
            self.loop.call_soon(self._on_ready)

    cdef int _arm(self) except -1:
        """One asyncio timer for the earliest of our deadlines."""
        cdef int64_t due = self.broker.turn.timers.next_ns()
        self.broker.turn.timers.expect(due)
        if due == self.timer_ns and self.timer_handle is not None:
            return 0
        if self.timer_handle is not None:
            self.timer_handle.cancel()
            self.timer_handle = None
        self.timer_ns = due
        if due:
            delay = max(0, due - self.broker.clock.read_mono_ns()) / 1e9
            self.timer_handle = self.loop.call_later(delay, self._on_timer)
        return 0

    def _on_timer(self):
        self.timer_handle = None
        self.timer_ns = 0
        self._on_ready()

    def hold(self):
        """No turn until `go_on`: what they would work on is not all there yet."""
        self.held = True
        self.loop.remove_reader(self.poller)

    def go_on(self):
        """Turns again, the first one soon."""
        self.held = False
        self.loop.add_reader(self.poller, self._on_ready)
        self.schedule()

    def close(self):
        """Take everything out of the set and give it back; sessions are closed by the server before."""
        if not self.running:
            return
        self.running = False
        self.broker.turn.set_wake(None)
        if self.timer_handle is not None:
            self.timer_handle.cancel()
        self.loop.remove_reader(self.poller)
        self.sources.clear()
        self.unfinished.clear()
        close(self.poller)

"""Who waits for whom (design: every buffer is bounded, and shared fairly).

A connection is not read from

    for a moment      when a receiver of its messages has nearly as much waiting as `max_pending`, as on nats-server
    while it lasts    when a receiver, in its own account, has more waiting than is its share; when its account has
                      more output than is its share; when its account's clients have begun to send more than has room
    until an answer   when its password is being verified; then nothing leaves either

The shares are those of `base.budget`. Another account's receiver is not waited for: it ends as a slow consumer when
its account has no room. Who is not let in yet waits for nobody: what strangers may send is bounded by itself.
"""

from libc.stdint cimport int64_t

from millpond.broker.broker cimport Broker
from millpond.broker.member cimport Member
from millpond.broker.outbox cimport Channel, Outbox
from millpond.broker.sink cimport Sink
from millpond.broker.timers cimport Timer

from millpond.base import limits

cdef enum:
    STALL_NS = 5_000_000
    STALL_NS_MAX = 80_000_000    # who waits for long is looked at less and less often

cdef int64_t STALL_CREDIT = limits.STALL_CREDIT_BYTES
cdef int64_t HURRY_NS = limits.UNFINISHED_FRAME_LOOK_NS


cdef class StallTimer(Timer):
    cdef Paced member

    cdef int fire(self, int64_t now_ns) except -1:
        return self.member._stalled_enough(now_ns) if self.member is not None else 0


def _since(Paced member):
    return member.unfinished_ns


cdef class Paced(Member):
    """A session overrides what the declaration says."""

    def __init__(self, Broker broker, Channel channel, str ip, int port):
        cdef StallTimer stall = StallTimer()
        Member.__init__(self, broker, ip, port)
        stall.member = self
        self.stall_timer = stall
        self.channel = channel
        self.outbox = Outbox(channel, broker.turn, broker.options.write_deadline_ns, self.dead,
                             self.late if broker.options.write_timeout == "retry" else None)
        self.outbox.buffer.budget = self.output

    def dead(self, str reason):
        """Its peer takes nothing, or not enough."""
        raise NotImplementedError(type(self).__name__)

    def late(self, str state):
        """It took some of what had to leave (`Detected`, then `State`), or at last all of it (`Recovered`)."""
        raise NotImplementedError(type(self).__name__)

    cdef bint is_anonymous(self) noexcept:
        return False

    # --- as a receiver ---

    cdef bint is_behind(self) noexcept:
        return (self.outbox.blocked or self.outbox.held) and self.output.is_over_share()

    cdef int fall_behind(self, Sink source) except -1:
        """More waits here than is its share, and `source` adds to it."""
        if not isinstance(source, Paced) or (<Paced>source).account is self.account:
            source.waits_for = self
        elif self.account.output.is_over_share():
            self.dead("Slow Consumer (Pending Bytes)")
        return 0

    # --- as a sender ---

    cdef bint must_wait(self) except -1:
        return self.waits_for_readers() or (not self.broker.input.is_calm() and self._lacks_room())

    cdef bint waits_for_readers(self) except -1:
        if self.broker.output.is_calm() or self.is_anonymous():
            return False
        return Sink.must_wait(self) or self.account.output.is_over_share()

    cdef bint _lacks_room(self) except -1:
        if self.has_room or self.is_anonymous() or not self.account.input.is_over_share():
            return False
        if self.broker.clock.mono_ns - self.account.hurried_ns >= HURRY_NS:
            self.account.hurried_ns = self.broker.clock.mono_ns
            self._hurry()
        return self.account.input.is_over_share()

    cdef int _hurry(self) except -1:
        """Others wait for room: those who have been at one frame for as long as a write may take end, the slowest first."""
        cdef Paced other
        cdef int64_t since_ns = self.broker.clock.mono_ns - <int64_t>self.broker.options.write_deadline_ns
        cdef list slow = [
            other for other in self.broker.sessions.values() if other.account is self.account
            and 0 < other.unfinished_ns <= since_ns and not other.verifying and not other.waits_for_readers()
        ]
        slow.sort(key=_since)
        for other in slow:
            if not self.account.input.is_over_share():
                break
            other.close("Stale Connection", "Stale Connection")
        return 0

    cdef int slow_down(self) except -1:
        return self.stall() if self.stall_credit <= 0 else 0

    cdef int stall(self) except -1:
        """Stop reading from this one for a few milliseconds, or for as long as it has to wait."""
        if not self.stalled and not self.is_closed():
            self.stalled = True
            self.stalls += 1
            self.broker.counters.stalled_clients += 1
            self.channel.pause_reading(True)
            self.stall_ns = STALL_NS
            self.broker.turn.timers.arm(self.stall_timer, self.broker.clock.mono_ns + STALL_NS)
        return 0

    cdef int _stalled_enough(self, int64_t now_ns) except -1:
        if self.must_wait():
            if self.is_closed():                     # it was itself the slowest
                return 0
            self.stall_ns = min(2 * self.stall_ns, <int64_t>STALL_NS_MAX)
            return self.broker.turn.timers.arm(self.stall_timer, now_ns + self.stall_ns)
        if self.is_closed():
            return 0
        self.stalled = False
        self.stall_credit = STALL_CREDIT
        return self.channel.pause_reading(False)

    cdef int _pause(self, bint on) except -1:
        self.broker.turn.timers.cancel(self.stall_timer)      # it ends with the pause, not before
        self.stalled = on
        if on:
            self.outbox.hold()
        else:
            self.outbox.let_go()
        return self.channel.pause_reading(on) if not self.is_closed() else 0

    cdef int end_pace(self) except -1:
        self.waits_for = None
        self.broker.turn.timers.cancel(self.stall_timer)
        (<StallTimer>self.stall_timer).member = None
        return 0

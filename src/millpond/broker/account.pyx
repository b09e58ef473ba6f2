"""An account (reference 02.3): subjects, subscriptions and streams of one are never seen by another."""

from libc.stdint cimport int64_t

from millpond.accounts.mappings cimport Mappings
from millpond.base.budget cimport Budget


cdef class Account:
    """Owned by the broker. A session belongs to one at a time."""

    def __init__(self, options, int64_t now_ns, Budget output, Budget input):
        self.reload(options)
        self.name = options.name
        self.router = Router()
        self.started_ns = now_ns
        self.output, self.input = Budget("output", 0, output), Budget("input", 0, input)

    def reload(self, options):
        """Go on with other settings."""
        self.options = options
        self.mappings = Mappings(options.mappings) if options.mappings else None
        self.traces_parents = bool(options.trace_destination)

    cdef int enter(self) except -1:
        self.connections += 1
        self.input.keep(True)
        return self.output.keep(True)

    cdef int leave(self) except -1:
        assert self.connections > 0, "who leaves has entered"
        self.connections -= 1
        self.input.keep(self.connections > 0)
        return self.output.keep(self.connections > 0)

    def statistics(self):
        """What its clients sent and received since the start."""
        return self.traffic

"""An account (reference 02.3): subjects, subscriptions and streams of one are never seen by another."""

from libc.stdint cimport int64_t

from millpond.accounts.mappings cimport Mappings


cdef class Account:
    """Owned by the broker. A session belongs to one at a time."""

    def __init__(self, options, int64_t now_ns):
        self.reload(options)
        self.name = options.name
        self.router = Router()
        self.started_ns = now_ns

    def reload(self, options):
        """Go on with other settings."""
        self.options = options
        self.mappings = Mappings(options.mappings) if options.mappings else None

    def statistics(self):
        """What its clients sent and received since the start."""
        return self.traffic

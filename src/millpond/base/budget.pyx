"""Named memory budgets: how a server knows, and bounds, what it keeps.

A `Budgets` belongs to one server; nothing here is global, so several servers in one process do not
see each other. It holds one `Budget` for each name, and the total that all of them draw from:

    Budgets(64 MiB) ── total            charged with every byte that any of the others is charged with
       ├── read_cache   4 MiB           full: its owner sheds, long before the total is reached
       ├── subjects     no own bound    only the total holds
       └── ...

Promises: `used` is the sum of the charges less the sum of the releases, of this budget; `total.used`
is the sum over all budgets; neither is ever negative.

A budget may have parts of its own, which share it fairly: below half of what the whole may hold each part takes
what it needs; above, a part that holds an equal share of the other half, or more, takes no more. So nobody can
take what the others are sure of, and the whole keeps within its bound:

    output 16 MiB     8 MiB for whoever comes first | 8 MiB in equal shares
       ├── an account        its own share is shared by its connections in the same way
       └── ...

A part that is `kept` counts even while it holds nothing: accounts that have clients. A budget counts, it does not allocate: to shed
a cache, to stop reading sockets or to refuse a publish is the decision of whoever asked `would_exceed`
(`fits` from Python). Owned by the loop thread, like all state of a server; the workers do not charge.
"""

cimport cython
from libc.stdint cimport INT64_MAX, int64_t


@cython.final
cdef class Budget:
    """Bytes kept for one purpose, `bytes_max` at most (0: only the server's total bounds it)."""

    def __init__(self, str name, int64_t bytes_max=0, Budget total=None):
        assert name, "a budget has a name"
        assert bytes_max >= 0, f"{name}: a bound is not negative"
        self.name = name
        self.bytes_max = bytes_max
        self.total = total

    cpdef int charge(self, int64_t n) except -1:
        """Count `n` more bytes, whether or not they fit."""
        assert 0 <= n <= INT64_MAX - self.used, f"{self.name}: charge of {n} bytes"
        self.used += n
        if self.used > self.used_peak:
            self.used_peak = self.used
        if self.total is not None:
            if not self._counted and n > 0:
                self._counted = True
                self.total.holders += 1
            self.total.charge(n)
        return 0

    cpdef bint try_charge(self, int64_t n) except -1:
        """Count `n` more bytes if they fit; True if they did."""
        assert n >= 0, f"{self.name}: charge of {n} bytes"
        if self.would_exceed(n):
            return False
        self.charge(n)
        return True

    cpdef int release(self, int64_t n) except -1:
        """Give back `n` bytes that were charged before."""
        assert 0 <= n <= self.used, f"{self.name}: release of {n} bytes, {self.used} are charged"
        self.used -= n
        if self.total is not None:
            self.total.release(n)
            if self._counted and self.used == 0 and not self.kept:
                self._counted = False
                self.total.holders -= 1
        return 0

    cpdef int settle(self, int64_t n) except -1:
        """For what is measured rather than charged piece by piece: `n` bytes are used now."""
        assert n >= 0, f"{self.name}: {n} bytes"
        if n >= self.used:
            return self.charge(n - self.used)
        return self.release(self.used - n)

    cdef bint would_exceed(self, int64_t n) noexcept:
        return n > self.left()

    cdef int64_t left(self) noexcept:
        cdef int64_t here = INT64_MAX - self.used
        cdef int64_t above
        if self.bytes_max > 0:
            here = self.bytes_max - self.used
        if self.total is not None:
            above = self.total.left()
            if above < here:
                here = above
        return here if here > 0 else 0

    cpdef int keep(self, bint on) except -1:
        """Count among those who share the total, whether or not anything is charged; or only while there is."""
        assert self.total is not None, f"{self.name}: a part of nothing"
        self.kept = on
        if on != self._counted and (on or self.used == 0):
            self._counted = on
            self.total.holders += 1 if on else -1
        return 0

    cpdef int move(self, Budget total) except -1:
        """Be a part of `total` from now on."""
        cdef int64_t used = self.used
        cdef bint kept = self.kept
        assert self.total is not None, f"{self.name}: a part of nothing"
        self.release(used)
        self.keep(False)
        self.total = total
        self.charge(used)
        if kept:
            self.keep(True)
        return 0

    cdef int64_t share_max(self) noexcept:
        """Bytes that this part may hold now. One that is alone, and would be known not to be, has the whole."""
        cdef int64_t half, whole
        if self.bytes_max > 0:
            return self.bytes_max
        if self.total is None:
            return INT64_MAX
        whole = self.total.share_max()
        if self.kept and self.total.holders == 1:
            return whole
        half = whole // 2
        if self.total.used < half or self.total.holders < 2:
            return half
        return half // self.total.holders

    cdef bint is_over_share(self) noexcept:
        return self.used > 0 and self.used >= self.share_max()

    @property
    def share(self):
        """Bytes that this part may hold now, while others want some of the same."""
        return self.share_max()

    @property
    def over_share(self):
        """Does it hold as much as that, or more?"""
        return self.is_over_share()

    def fits(self, int64_t n):
        """Whether `n` more bytes fit, here and in the server's total."""
        return not self.would_exceed(n)

    def __repr__(self):
        return f"Budget({self.name!r}, used={self.used}, bytes_max={self.bytes_max})"


@cython.final
cdef class Budgets:
    """All budgets of one server. `bytes_max` bounds their sum (0: no bound)."""

    def __init__(self, int64_t bytes_max=0):
        self.total = Budget("total", bytes_max)
        self._named = {}

    cpdef Budget named(self, str name, int64_t bytes_max=0):
        """The budget of that name, made on first use. Rooms that share a name share the bound:
        whoever comes second gives the same `bytes_max`, or 0 to take what is there."""
        cdef Budget budget = self._named.get(name)
        assert name != "total", "the total is charged through its parts"
        if budget is None:
            budget = Budget(name, bytes_max, self.total)
            self._named[name] = budget
        assert bytes_max in (0, budget.bytes_max), f"{name}: bound is {budget.bytes_max}, not {bytes_max}"
        return budget

    def report(self):
        """`{name: (bytes used, bytes_max)}` in order of creation; the total is not in it."""
        return {budget.name: (budget.used, budget.bytes_max) for budget in self._named.values()}

    def __iter__(self):
        return iter(list(self._named.values()))

    def __len__(self):
        return len(self._named)

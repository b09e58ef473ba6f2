"""The functions of `tokens` for the control plane: they take `str` or `bytes`."""

from millpond.subjects cimport tokens
from millpond.subjects.filter_tree cimport FilterTree


cdef bytes _bytes(object text):
    return text if isinstance(text, bytes) else (<str>text).encode("utf-8", "surrogatepass")


def is_valid_filter(subject) -> bool:
    """Tokens non-empty, no white space, '>' only at the end."""
    cdef bytes s = _bytes(subject)
    return tokens.is_valid_filter(s, <unsigned int>len(s))


def is_valid_subject(subject) -> bool:
    """A valid filter without wildcards."""
    cdef bytes s = _bytes(subject)
    return tokens.is_valid_subject(s, <unsigned int>len(s))


def has_wildcard(subject) -> bool:
    """Has a '*' token or a final '>' token."""
    cdef bytes s = _bytes(subject)
    return tokens.has_wildcard(s, <unsigned int>len(s))


def matches(subject, filter) -> bool:
    """Does the literal subject fall under the filter?"""
    cdef bytes s = _bytes(subject), f = _bytes(filter)
    return tokens.matches(s, <unsigned int>len(s), f, <unsigned int>len(f))


def is_subset(inner, outer) -> bool:
    """Is everything that `inner` matches also matched by `outer`?"""
    cdef bytes a = _bytes(inner), b = _bytes(outer)
    return tokens.is_subset(a, <unsigned int>len(a), b, <unsigned int>len(b))


def overlap(a, b) -> bool:
    """Is there a subject that both match?"""
    cdef bytes x = _bytes(a), y = _bytes(b)
    return tokens.overlap(x, <unsigned int>len(x), y, <unsigned int>len(y))


def token_count(subject) -> int:
    """Number of tokens; 0 for an empty subject."""
    cdef bytes s = _bytes(subject)
    return tokens.token_count(s, <unsigned int>len(s))


cdef class FilterSet:
    """Filters that are asked for overlaps; the time of an answer hardly depends on how many they are."""
    cdef FilterTree _tree

    def __init__(self, filters=()):
        self._tree = FilterTree()
        for filter in filters:
            self.add(filter)

    def add(self, filter):
        """Put one in; twice is once."""
        if filter:
            self._tree.add(_bytes(filter))

    def discard(self, filter):
        """Take one out, if it is there."""
        self._tree.discard(_bytes(filter))

    def overlaps(self, filter) -> bool:
        """Does any of them share a subject with this filter?"""
        return bool(self._tree.overlaps(_bytes(filter)))

    def covers(self, filter) -> bool:
        """Does any of them, other than this filter itself, match all that it matches?"""
        return bool(self._tree.covers(_bytes(filter)))

    def matches(self, subject) -> bool:
        """Does this literal subject, of no empty tokens, fall under any of them?"""
        cdef bytes s = _bytes(subject)
        return bool(self._tree.matches(s, <unsigned int>len(s)))

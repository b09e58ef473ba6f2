"""Subject mappings (reference 01.8): the first one whose source matches decides, by chance where it has weights."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from millpond.base.ids import random_below
from millpond.subjects import pytokens


def _by_chance():
    """0 to 99."""
    return random_below(100)


def _identity(source):
    """The destination that leaves a subject as it is."""
    number, tokens = 0, []
    for token in source.split("."):
        if token == "*":
            number += 1
            token = f"${number}"
        tokens.append(token)
    return ".".join(tokens)


def _weighted(mapping):
    """[(up to which of 100 chances, Transform)], rising; what is missing to 100 stays, unless the source is named."""
    from millpond.subjects.transform import Transform            # for servers that have mappings

    rows = [(each.weight, each.subject) for each in mapping.destinations]
    total = sum(weight for weight, _ in rows)
    if total != 100 and all(subject != mapping.source for _, subject in rows):
        rows.append((100 - total, _identity(mapping.source)))
    bound, found = 0, []
    for weight, subject in sorted(rows, key=lambda row: row[0]):
        bound += weight
        found.append((bound, Transform(mapping.source, subject)))
    return found


cdef class Mappings:
    """Of config.security.Mapping; raises TransformError for one that cannot be. `choose()`: 0 to 99."""

    def __init__(self, mappings, choose=None):
        self._sources = Filters([mapping.source for mapping in mappings])
        self._rows = [(mapping.source, _weighted(mapping)) for mapping in mappings]
        self._choose = choose or _by_chance

    cdef bytes apply(self, const char* subject, uint32_t subject_len):
        if not self._sources.covers(subject, subject_len):
            return None
        return self.of(PyBytes_FromStringAndSize(subject, subject_len))

    def of(self, bytes subject):
        """The same from Python."""
        for source, rows in self._rows:
            if pytokens.matches(subject, source):
                chance = 0 if len(rows) == 1 and rows[0][0] == 100 else self._choose()
                for bound, transform in rows:
                    if chance < bound:
                        return transform.match(subject) or b""
                return b""
        return None

"""Ack subjects and small bodies, without Python objects (reference 4.4)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.wire.message cimport Msg


cdef char* put_number(char* at, uint64_t number, char after) noexcept:
    """Decimal digits of `number`, then `after` unless it is 0. At most 21 bytes."""
    cdef char[20] digits
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + number % 10)
        count += 1
        number //= 10
        if number == 0:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    if after:
        at[0] = after
        at += 1
    return at


cdef bint read_numbers(const char* at, int64_t left, uint64_t* out) noexcept:
    """The first three of exactly five numbers between dots; False when they are not that."""
    cdef int token = 0, digits = 0
    cdef uint64_t value = 0
    cdef int64_t i
    for i in range(left + 1):
        if i == left or at[i] == c".":
            if digits == 0 or token > 4:
                return False
            if token < 3:
                out[token] = value
            token += 1
            value = digits = 0
        elif c"0" <= at[i] <= c"9" and digits < 19:
            value = value * 10 + <uint64_t>(at[i] - 48)
            digits += 1
        else:
            return False
    return token == 5


cdef bint body_is(const Msg* msg, const char* text, uint32_t size) noexcept:
    """Is the body exactly this?"""
    cdef uint32_t i
    if msg.body_len != size:
        return False
    for i in range(size):
        if msg.body[i] != text[i]:
            return False
    return True

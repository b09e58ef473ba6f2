"""The byte buffer against bytes, and how much it takes from the allocator."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond.structures.buffers import ByteBuffer, give_back, kept_bytes

PIECES = st.lists(st.one_of(st.binary(max_size=3000), st.integers(0, 4000)), max_size=60)


@given(PIECES)
def test_bytes_come_out_in_the_order_in_which_they_went_in(steps: list[bytes | int]) -> None:
    buffer, expected = ByteBuffer(), b""
    for step in steps:
        if isinstance(step, bytes):
            buffer.write(step)
            expected += step
        else:
            buffer.skip(step)
            expected = expected[step:]
        assert (buffer.peek(), len(buffer)) == (expected, len(expected))


def test_a_bulky_buffer_jumps_and_another_one_doubles() -> None:
    assert _sizes(ByteBuffer(), 90) == [512, 1024, 2048, 4096, 8192, 16384]
    bulky = ByteBuffer()
    bulky.expect_much()
    assert _sizes(bulky, 3000) == [512, 4096, 98304, 196608, 393216]


def _sizes(buffer: ByteBuffer, writes: int) -> list[int]:
    sizes = []
    for _ in range(writes):
        buffer.write(b"x" * 100)
        sizes.append(buffer.allocated)
    return sorted(set(sizes))


def test_a_frame_of_known_size_takes_about_that() -> None:
    buffer = ByteBuffer()
    buffer.write(b"x" * 5000)
    assert buffer.allocated == 8192


def test_large_ones_are_kept_for_the_next_of_their_size_until_nobody_wants_them() -> None:
    give_back(all=True)
    first = ByteBuffer()
    first.write(b"x" * 500_000)
    assert (first.allocated, kept_bytes()) == (524_288, 0)
    del first
    assert kept_bytes() == 524_288
    other = ByteBuffer()
    other.write(b"x" * 200_000)
    assert kept_bytes() == 524_288, "it is of another size"
    again = ByteBuffer()
    again.write(b"y" * 400_000)
    assert (kept_bytes(), again.peek()) == (0, b"y" * 400_000)
    del again
    give_back()
    assert kept_bytes() == 524_288, "one was wanted a moment ago"
    give_back()
    assert kept_bytes() == 0


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    give_back(all=True)
    held = []
    for size in (5_000_000, 2_000_000, 1_000_000, 500_000):
        buffer = ByteBuffer()
        buffer.write(b"x" * size)
        held.append(buffer)
    sizes = [buffer.allocated for buffer in held]
    assert sizes == [8 << 20, 2 << 20, 1 << 20, 512 << 10]
    del buffer
    held.reverse()
    while held:
        del held[-1]                               # the largest first
    assert kept_bytes() == sum(sizes[1:])
    huge = ByteBuffer()
    huge.write(b"x" * (9 << 20))
    del huge
    assert kept_bytes() == sum(sizes[1:]), "that is too much for one"
    many = [ByteBuffer() for _ in range(20)]
    for buffer in many:
        buffer.write(b"x" * 140_000)
    many.clear()
    assert kept_bytes() <= 8 << 20
    give_back(all=True)
    assert kept_bytes() == 0

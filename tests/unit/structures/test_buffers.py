"""The byte buffer against bytes, and how much it takes from the allocator."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from millpond.structures.buffers import ByteBuffer

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

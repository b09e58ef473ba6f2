"""Percentiles against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from millpond.bench.histogram import Histogram


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([50.0, 90.0, 99.0, 100.0]))
def test_a_percentile_is_within_two_percent(samples: list[int], percent: float) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    exact = sorted(samples)[max(1, int(len(samples) * percent / 100)) - 1]
    assert abs(histogram.percentile(percent) - exact) <= exact * 0.02
    assert (histogram.count, histogram.max_ns) == (len(samples), max(samples))


def test_without_samples_there_is_no_latency() -> None:
    assert Histogram().percentile(99) == 0

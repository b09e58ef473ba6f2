"""The list of seeded faults still fits the sources. That the tests catch them is for run.py (`make mutations`)."""

from __future__ import annotations

import pytest

from .faults import FAULTS, ROOT, Fault

AT_LEAST = 50


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_seeded(fault: Fault) -> None:
    text = (ROOT / "src" / "millpond" / fault.file).read_text()
    assert fault.seeded(text) != text
    assert fault.tests
    for test in fault.tests:
        assert (ROOT / test).exists(), test


def test_there_are_enough_with_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= AT_LEAST


def test_a_text_that_is_not_there_once_is_refused() -> None:
    fault = FAULTS[0]
    for text in ("", fault.old * 2):
        with pytest.raises(ValueError, match="1 is needed"):
            fault.seeded(text)

"""What several modules of these tests do before and after each."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def quiet() -> Iterator[None]:
    """Stores that are damaged on purpose say so very often."""
    logging.getLogger("millpond").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("millpond").setLevel(logging.NOTSET)

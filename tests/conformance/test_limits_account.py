"""An account's limits: both servers refuse the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import scenarios_limits as limits
from .conftest import running_pair
from .target import Target

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    path: Path = tmp_path_factory.mktemp("account") / "account.conf"
    path.write_text(limits.ACCOUNT)
    with running_pair(request, ("-c", str(path))) as both:
        yield both


@pytest.mark.parametrize("storage", ["memory"])   # nats-server may be removing the account's directory of files
@pytest.mark.parametrize("scenario", [limits.full, limits.full_batches], ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)

"""A server's own limits: both servers refuse the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import scenarios_limits as limits
from .anew import recorded
from .compare import differences
from .conftest import running_pair
from .target import Target

SCENARIOS = [limits.full, limits.full_batches, limits.batch_larger_than_room, limits.reserved, limits.asked_for]
pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    path: Path = tmp_path_factory.mktemp("limits") / "limits.conf"
    path.write_text(limits.CONFIG)
    with running_pair(request, ("-c", str(path))) as both:
        yield both


@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize(
    ("config", "scenario"),
    [(limits.ACCOUNTS, limits.accounts), (limits.BUFFERED, limits.buffered), (limits.BATCHES, limits.few_batches)],
    ids=["accounts by their own", "what may be under way", "batches"],
)
def test_same_answers_with(request, tmp_path, config, scenario, storage):
    """Another configuration; the pages name its limits."""
    path = tmp_path / "other.conf"
    path.write_text(config)
    with running_pair(request, ("-c", str(path))) as (reference, other):
        diff = differences(*recorded(reference, other, scenario, storage))
        pages = [json.loads(target.http("/jsz")[1])["limits"] for target in (reference, other)]
    assert not diff, "\n".join(diff)
    assert pages[0] == pages[1]


@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


def test_the_pages_show_them(pair):
    """`/jsz` and `/varz` name the limits, on both servers alike."""
    for path, members in (("/jsz", ("limits",)), ("/varz", ("jetstream", "limits"))):
        found = []
        for target in pair:
            page = json.loads(target.http(path)[1])
            for member in members:
                page = page[member]
            found.append(page)
        assert found[0] == found[1]
        assert found[0]["max_request_batch"] == 10

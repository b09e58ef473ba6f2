"""The origin is on another server, and the link between them, or one of them, fails."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing_link as link
from .ends import agree_across_servers

SCENARIOS = [link.lag, link.gaps, link.cut, link.origin_killed, link.follower_killed, link.follower_stopped]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_across_servers(linked, scenario):
    agree_across_servers(linked, scenario)

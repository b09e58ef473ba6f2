"""The core protocol: both servers answer the same bytes to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from . import (
    scenarios_accounts,
    scenarios_core,
    scenarios_core_delivery,
    scenarios_core_settings,
    scenarios_message_trace,
    scenarios_message_trace_streams,
    scenarios_permissions,
    scenarios_proxy,
    scenarios_service_latency,
    scenarios_system_api,
)
from .anew import both
from .compare import differences
from .conftest import DEFAULT_TARGET
from .core_target import CoreTarget, Settings, start
from .known import KNOWN
from .raw import CoreRecord
from .target import MILLPOND, REFERENCE, why_missing

pytestmark = pytest.mark.reference
Scenario = Callable[[CoreRecord], None]


class Servers:
    """Pairs of servers by their settings, started when first asked for."""

    def __init__(self, other: str) -> None:
        self.other = other
        self._pairs: dict[str, tuple[CoreTarget, CoreTarget]] = {}

    def pair(self, settings: Settings) -> tuple[CoreTarget, CoreTarget]:
        key = repr(sorted(settings.items()))
        if key not in self._pairs:
            reference = start(REFERENCE, settings)
            try:
                self._pairs[key] = (reference, start(self.other, settings))
            except BaseException:
                reference.stop()
                raise
        return self._pairs[key]

    def stop(self) -> None:
        for pair in self._pairs.values():
            for target in pair:
                target.stop()


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    if (reason := why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    chosen = request.config.getoption("--target", default=DEFAULT_TARGET)
    running = Servers(REFERENCE if chosen == REFERENCE else MILLPOND)
    yield running
    running.stop()


def recorded(target: CoreTarget, scenario: Scenario) -> CoreRecord:
    record = CoreRecord(target)
    try:
        scenario(record)
    finally:
        record.close()
    return record


CASES: list[tuple[Settings, Scenario]] = [
    *(({}, scenario) for scenario in (*scenarios_core.SCENARIOS, *scenarios_core_delivery.SCENARIOS)),
    *scenarios_core_settings.SCENARIOS,
    *scenarios_permissions.SCENARIOS,
    *scenarios_accounts.SCENARIOS,
    *scenarios_message_trace.SCENARIOS,
    *scenarios_message_trace_streams.SCENARIOS,
    *scenarios_proxy.SCENARIOS,
    *scenarios_service_latency.SCENARIOS,
    *scenarios_system_api.SCENARIOS,
]


@pytest.mark.parametrize(("settings", "scenario"), CASES, ids=[scenario.__name__ for _, scenario in CASES])
def test_same_bytes(servers: Servers, settings: Settings, scenario: Scenario) -> None:
    reference, other = servers.pair(settings)
    diff = differences(*both(lambda: recorded(reference, scenario), lambda: recorded(other, scenario)))
    known = KNOWN.get(scenario.__name__) if other.kind != REFERENCE else None
    if known is None:
        assert not diff, "\n".join(diff)
    else:
        assert diff, f"{scenario.__name__} agrees now: remove it from known.py ({known})"
        pytest.xfail(f"docs/differences.md {known}")

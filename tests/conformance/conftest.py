"""Options and fixtures of the conformance suite; see README.md beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .compare import Scenario, differences, record
from .known import BEING_BUILT, KNOWN
from .target import MILLPOND, REFERENCE, Target, why_missing

DEFAULT_TARGET = "both"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target", choices=(MILLPOND, REFERENCE, "both"), default=DEFAULT_TARGET,
        help="the server under test; comparisons need the reference executable in every case",
    )


def _kinds(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--target", default=DEFAULT_TARGET)
    return [REFERENCE, MILLPOND] if chosen == "both" else [chosen]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        kinds = [
            pytest.param(kind, marks=[pytest.mark.reference] if kind == REFERENCE else [])
            for kind in _kinds(metafunc.config)
        ]
        metafunc.parametrize("target", kinds, indirect=True, scope="module")


def _started(kind: str) -> Target:
    reason = why_missing(kind)
    if reason is not None:
        pytest.skip(reason)
    return Target(kind).start()


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """One server of the asked kind, shared by the module's tests."""
    server = _started(request.param)
    yield server
    server.discard()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Target, Target]]:
    """The reference and the server compared with it.

    With `--target=nats-server` that is a second nats-server: this proves that the scenarios are deterministic.
    """
    kind = REFERENCE if request.config.getoption("--target", default=DEFAULT_TARGET) == REFERENCE else MILLPOND
    if (reason := why_missing(kind) or why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    reference = _started(REFERENCE)
    try:
        other = _started(kind)
    except BaseException:
        reference.discard()
        raise
    yield reference, other
    other.discard()
    reference.discard()


@pytest.fixture
def compare(pair: tuple[Target, Target]) -> Callable[..., None]:
    """Runs a scenario on both servers and fails with a diff, unless the difference is a known one."""

    def run(scenario: Scenario, storage: str = "") -> None:
        reference, other = pair
        if other.kind != REFERENCE and KNOWN.get(scenario.__name__) in BEING_BUILT:
            pytest.xfail(f"docs/differences.md {KNOWN[scenario.__name__]}")
        truth = record(reference, scenario, is_truth=True, storage=storage)
        diff = differences(truth, record(other, scenario, storage=storage))
        known = KNOWN.get(scenario.__name__) if other.kind != REFERENCE else None
        if known is None:
            assert not diff, f"{scenario.__name__}\n" + "\n".join(diff)
        else:
            assert diff, f"{scenario.__name__} agrees now: remove it from known.py ({known})"
            pytest.xfail(f"docs/differences.md {known}")

    return run

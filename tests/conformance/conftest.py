"""Options and fixtures of the conformance suite; see README.md beside this file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from .anew import recorded
from .compare import Scenario, differences
from .ends import CONFIG, Follower
from .known import KNOWN
from .monitored import Situation, begin
from .schema_rules import broken_rules
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


def _started(kind: str, flags: tuple[str, ...] = ()) -> Target:
    reason = why_missing(kind)
    if reason is not None:
        pytest.skip(reason)
    return Target(kind, flags=flags).start()


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """One server of the asked kind, shared by the module's tests."""
    server = _started(request.param)
    yield server
    server.discard()


def compared_kind(request: pytest.FixtureRequest) -> str:
    """Which server is compared with the reference."""
    chosen = request.config.getoption("--target", default=DEFAULT_TARGET)
    return REFERENCE if chosen == REFERENCE else MILLPOND


@contextmanager
def running_pair(request: pytest.FixtureRequest, flags: tuple[str, ...] = ()) -> Iterator[tuple[Target, Target]]:
    """The reference and the server compared with it, both with these flags.

    With `--target=nats-server` that is a second nats-server: this proves that the scenarios are deterministic.
    """
    kind = compared_kind(request)
    if (reason := why_missing(kind) or why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    reference = _started(REFERENCE, flags)
    try:
        other = _started(kind, flags)
    except BaseException:
        reference.discard()
        raise
    yield reference, other
    other.discard()
    reference.discard()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Target, Target]]:
    with running_pair(request) as both:
        yield both


@pytest.fixture(scope="module")
def with_accounts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Target, Target]]:
    """The pair, with the accounts of ends.py."""
    path = tmp_path_factory.mktemp("accounts") / "accounts.conf"
    path.write_text(CONFIG)
    with running_pair(request, ("-c", str(path))) as both:
        yield both


@pytest.fixture(scope="module")
def linked(request: pytest.FixtureRequest) -> Iterator[list[tuple[Target, Follower]]]:
    """Origins and their followers; the first pair is the reference with itself."""
    if (reason := why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    pairs = itertools.product((REFERENCE, compared_kind(request)), repeat=2)
    found = [(Target(origin), Follower(follower)) for origin, follower in pairs]
    try:
        for target in itertools.chain(*found):
            target.start()
        yield found
    finally:
        for target in itertools.chain(*found):
            target.discard()


@pytest.fixture(scope="module")
def situation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Situation]]:
    """The same one (`request.param`: its name) on both servers, the reference first."""
    kind = compared_kind(request)
    if (reason := why_missing(kind) or why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("monitored")
    both: list[Situation] = []
    try:
        both.append(begin(REFERENCE, request.param, directory))
        both.append(begin(kind, request.param, directory))
        yield both
    finally:
        for each in both:
            each.stop()


@pytest.fixture
def compare(pair: tuple[Target, Target]) -> Callable[..., None]:
    """Runs a scenario on both servers and fails with a diff, unless the difference is a known one."""

    def run(scenario: Scenario, storage: str = "") -> None:
        reference, other = pair
        truth, found = recorded(reference, other, scenario, storage)
        diff = differences(truth, found)
        known = KNOWN.get(scenario.__name__) if other.kind != REFERENCE else None
        if known is None:
            assert not diff, f"{scenario.__name__}\n" + "\n".join(diff)
            allowed = broken_rules(truth.documents)
            for name, rules in broken_rules(found.documents).items():
                assert rules <= allowed[name], f"{scenario.__name__}: {name} breaks {rules - allowed[name]}"
        else:
            assert diff, f"{scenario.__name__} agrees now: remove it from known.py ({known})"
            pytest.xfail(f"docs/differences.md {known}")

    return run

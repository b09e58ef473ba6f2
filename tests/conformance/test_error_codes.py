"""Which of nats-server's error codes this suite produces on both servers, in the same place.

Each code of the table is in one of three groups: seen here, waiting for a part that is being built (whose own
scenarios belong into `SCENARIOS` then), or out of reach of one server, with the reason. `FLOOR` only rises.
"""

from __future__ import annotations

import re

import pytest

from millpond.jetstream.error_table import ERRORS

from . import scenarios_api as api
from . import scenarios_backups as backups
from . import scenarios_consumers as consumers
from . import scenarios_consumers_control as control
from . import scenarios_consumers_priority as priority
from . import scenarios_consumers_push as push
from . import scenarios_failing_disk as failing
from . import scenarios_fast_batches as fast
from . import scenarios_features as features
from . import scenarios_limits as limits
from . import scenarios_mappings as mappings
from . import scenarios_offline as offline
from . import scenarios_retention as retention
from . import scenarios_schedules as schedules
from . import scenarios_sourcing as sourcing
from . import scenarios_sourcing_external as external
from . import scenarios_streams as streams
from . import scenarios_ttl as ttl
from .compare import Scenario, Session, record
from .conftest import running_pair

FLOOR = 169
SCENARIOS: list[Scenario] = [
    api.bodies, api.combinations, api.counters, api.same_again, api.stream_names,
    streams.denials, streams.reservations_beyond_the_machine, streams.sealing, streams.stream_updates,
    streams.expectations, consumers.consumer_life, consumers.consumer_refusals, consumers.more_refusals,
    consumers.create_subjects, consumers.consumers_of_other_streams, consumers.update_rules_push,
    consumers.pedantic, push.flow_ack_refusals, control.reset_answers, priority.priority_refusals,
    priority.unpin_answers,
    retention.workqueue_filters, retention.workqueue_alone, retention.consumer_limits, retention.sealed,
    features.counter_configurations, features.counter_arithmetic, features.counter_headers, features.atomic_commits,
    features.atomic_refusals, features.atomic_expectations, features.atomic_numbers, mappings.refused_transforms,
    ttl.ttl_texts, schedules.schedule_configurations, schedules.schedule_patterns, schedules.schedule_refusals,
    fast.fast_commits, fast.fast_patterns, fast.fast_pings, fast.fast_refusals, fast.fast_limits, fast.fast_numbers,
    sourcing.mirror_rules, sourcing.mirror_updates, sourcing.source_rules, sourcing.source_updates,
    sourcing.source_with_consumer, external.unusable_answers,
    backups.snapshot_requests, backups.restore_requests, backups.broken_archives,
]
ON_DISK: list[Scenario] = [api.names_of_no_file, streams.reservations_beyond_the_machine, offline.offline]
CONFIGURED: list[tuple[str, list[Scenario]]] = [
    (limits.CONFIG, [limits.full, limits.reserved, limits.asked_for]), (limits.ACCOUNTS, [limits.accounts]),
    (limits.BUFFERED, [limits.buffered]),
]
"""Those that need servers with a configuration."""
ALONE: list[Scenario] = [failing.no_new_consumers, failing.no_pause]
"""Those after which a server is of no use."""

OUT_OF_REACH: dict[str, list[int]] = {
    "declared, and produced by nothing in nats-server 2.15": [
        10004, 10011, 10019, 10032, 10033, 10036, 10061, 10066, 10067, 10068, 10072, 10073, 10085, 10092, 10093, 10117,
        10163, 10180,
    ],
    "of servers in clusters": [
        10005, 10006, 10007, 10008, 10009, 10035, 10040, 10041, 10044, 10048, 10063, 10075, 10118, 10119, 10123, 10124,
        10129, 10158, 10202, 10224, 10226,
    ],
    "another check comes first on a server without peers": [
        10016, 10078, 10087, 10103, 10105, 10106, 10114, 10126, 10132, 10134, 10181, 10182,
    ],
    "a deletion that the disk refuses is answered with success": [10050],
    "two requests in the same moment": [10096],
    "stands for errors without a code, where every error has one": [10053],
    "an account's own subscription is refused": [10042],
    "nobody answers where JetStream is off": [10076],
}
ELSEWHERE: dict[str, list[int]] = {
    "limits by tiers, which only JWT have": [10120],
}
CODE = re.compile(r'err_code\\*": ?(\d+)')
pytestmark = pytest.mark.reference


def compared(pair, scenarios: list[Scenario], storage: str) -> set[int]:
    """The codes that the reference gave, where the other server gave the same answers. All else that these
    scenarios see is compared by the tests of their own."""
    reference, other = pair
    seen: set[int] = set()
    for scenario in scenarios:
        truth = refusals(record(reference, scenario, is_truth=True, storage=storage))
        assert refusals(record(other, scenario, storage=storage)) == truth, scenario.__name__
        seen |= {int(code) for line in truth for code in CODE.findall(line)}
    return seen


def refusals(session: Session) -> list[str]:
    return [line for line in session.result() if CODE.search(line)]


def report(seen: set[int]) -> str:
    """What the three groups say about the table."""
    lines = [f"{len(seen)} of {len(ERRORS)} error codes are produced and compared"]
    for title, groups in (("not seen here", ELSEWHERE), ("out of reach of one server", OUT_OF_REACH)):
        for reason, codes in groups.items():
            left = [code for code in codes if code not in seen]
            lines.append(f"  {title}: {len(left)}, {reason}: {' '.join(map(str, left))}")
    return "\n".join(lines)


def test_codes_are_produced_and_compared(request, pair, tmp_path):
    seen = compared(pair, SCENARIOS, "memory") | compared(pair, ON_DISK, "file")
    path = tmp_path / "server.conf"
    for text, scenarios in CONFIGURED:
        path.write_text(text)
        with running_pair(request, ("-c", str(path))) as configured:
            seen |= compared(configured, scenarios, "memory")
    for scenario in ALONE:
        with running_pair(request) as spoiled:
            seen |= compared(spoiled, [scenario], "file")
    print(report(seen))
    unreachable = {code for codes in OUT_OF_REACH.values() for code in codes}
    waiting = {code for codes in ELSEWHERE.values() for code in codes}
    every = {code for _, code, _ in ERRORS.values()}
    assert not unreachable & waiting
    assert not unreachable & seen, "these can be reached after all"
    unexplained = every - seen - waiting - unreachable
    assert not unexplained, f"neither seen nor explained: {sorted(unexplained)}"
    assert len(seen) >= FLOOR

"""What mirrors and sources may be (reference 03.5): nats-server's checks, in its order and words.

`checked` stands between the checks of the other fields (stream_rules). A stream that the configuration names need
not exist; `find` gives the configuration of one that does, and then the two are looked at together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from millpond.base.errors import ApiError
from millpond.jetstream.asset_names import is_asset_name
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_text import quote
from millpond.jetstream.source_names import consumer_index, index_name
from millpond.jetstream.stream_config import StreamConfig, StreamSource, SubjectTransform
from millpond.subjects import pytokens
from millpond.subjects.transform import TransformError, check_destination

Find = Callable[[str], StreamConfig | None]

API_PREFIX: Final = "$JS.API"
MIRROR_EXCLUDES: Final = (
    ("first_seq", "JSMirrorWithFirstSeqErr"),
    ("subjects", "JSMirrorWithSubjectsErr"),
    ("sources", "JSMirrorWithSourcesErr"),
    ("allow_msg_counter", "JSMirrorWithCountersErr"),
    ("allow_atomic", "JSMirrorWithAtomicPublishErr"),
    ("allow_batched", "JSMirrorWithBatchPublishErr"),
    ("allow_msg_schedules", "JSMirrorWithMsgSchedulesErr"),
)
"""In the order in which they are looked at."""


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the errors that mirrors and sources have each their own of."""

    consumer: str
    many_filters: str
    filter: str
    destination: str
    size: str


OF_MIRRORS: Final = Errors(
    consumer="JSMirrorDurableConsumerCfgInvalid",
    many_filters="JSMirrorMultipleFiltersNotAllowed",
    filter="JSMirrorInvalidSubjectFilter",
    destination="JSMirrorInvalidTransformDestination",
    size="JSMirrorMaxMessageSizeTooBigErr",
)
OF_SOURCES: Final = Errors(
    consumer="JSSourceDurableConsumerCfgInvalid",
    many_filters="JSSourceMultipleFiltersNotAllowed",
    filter="JSSourceInvalidSubjectFilter",
    destination="JSSourceInvalidTransformDestination",
    size="JSSourceMaxMessageSizeTooBigErr",
)


def checked(config: StreamConfig, pedantic: bool, find: Find) -> StreamConfig:
    """The configuration in force: a mirror inherits whether its origin gives direct access. Raises ApiError."""
    if config.mirror is None and not config.sources:
        return config
    if config.mirror is not None:
        config = _mirror(config, config.mirror, pedantic, find)
    elif config.allow_msg_schedules:
        raise api_error("JSSourceWithMsgSchedulesErr")
    _sources(config, find)
    _prefixes(config, find)
    _no_cycle(config, find)
    return config


def check_filters(config: StreamConfig) -> None:
    """What only a create looks at."""
    if config.mirror is not None and not _is_filter(config.mirror.filter_subject):
        text = f"subject filter '{config.mirror.filter_subject}' for the mirror invalid subject"
        raise api_error("JSStreamCreateErrF", err=text)
    for source in config.sources:
        if not _is_filter(source.filter_subject):
            text = f"subject filter '{source.filter_subject}' for the source: invalid subject"
            raise api_error("JSStreamCreateErrF", err=text)


def _is_filter(subject: str) -> bool:
    return not subject or pytokens.is_valid_filter(subject)


def _invalid(text: str) -> ApiError:
    return api_error("JSStreamInvalidConfigF", err=text)


def _mirror(config: StreamConfig, mirror: StreamSource, pedantic: bool, find: Find) -> StreamConfig:
    for field, error in MIRROR_EXCLUDES:
        if getattr(config, field):
            raise api_error(error)
    _consumer(mirror, OF_MIRRORS)
    if mirror.filter_subject and mirror.subject_transforms:
        raise api_error(OF_MIRRORS.many_filters)
    if config.subject_delete_marker_ttl > 0:
        raise _invalid("subject delete markers forbidden on mirrors")
    for number, transform in enumerate(mirror.subject_transforms):
        _transform(transform, OF_MIRRORS)
        for other, later in enumerate(mirror.subject_transforms):
            if other != number and pytokens.overlap(transform.src, later.src):
                raise api_error("JSMirrorOverlappingSubjectFilters")
    if mirror.external is not None:
        return config
    if not is_asset_name(mirror.name):
        raise api_error("JSMirrorInvalidStreamName")
    origin = find(mirror.name)
    if origin is None:
        return config
    _size(config, origin, OF_MIRRORS)
    if pedantic and config.mirror_direct != origin.allow_direct:
        raise api_error("JSPedanticErrF", err="origin stream has direct get set, mirror has it disabled")
    return msgspec.structs.replace(config, mirror_direct=origin.allow_direct)


def _consumer(source: StreamSource, errors: Errors) -> None:
    """A consumer that was made before knows where it begins and what it gives."""
    consumer = source.consumer
    if consumer is None:
        return
    chooses = source.opt_start_seq or source.opt_start_time is not None or source.filter_subject
    if not is_asset_name(consumer.name) or not pytokens.is_valid_subject(consumer.deliver_subject) or chooses:
        raise api_error(errors.consumer)


def _transform(transform: SubjectTransform, errors: Errors) -> None:
    if transform.src and not pytokens.is_valid_filter(transform.src):
        raise api_error(errors.filter, err=f"invalid subject {transform.src}")
    try:
        check_destination(transform.src, transform.dest)
    except TransformError as error:
        raise api_error(errors.destination, err=str(error)) from None


def _size(config: StreamConfig, origin: StreamConfig, errors: Errors) -> None:
    """What the origin takes must fit."""
    if 0 < config.max_msg_size < origin.max_msg_size:
        raise api_error(errors.size)


def _sources(config: StreamConfig, find: Find) -> None:
    indexes: set[str] = set()
    consumers: set[str] = set()
    for source in config.sources:
        if not is_asset_name(source.name):
            raise api_error("JSSourceInvalidStreamName")
        if index_name(source) in indexes:
            raise api_error("JSSourceDuplicateDetected")
        indexes.add(index_name(source))
        if source.filter_subject and source.subject_transforms:
            raise api_error(OF_SOURCES.many_filters)
        for transform in source.subject_transforms:
            _transform(transform, OF_SOURCES)
        _no_subsets([transform.src for transform in source.subject_transforms])
        _consumer(source, OF_SOURCES)
        if source.consumer is not None:
            if consumer_index(source) in consumers:
                raise api_error("JSSourceDurableConsumerDuplicateDetected")
            consumers.add(consumer_index(source))
        origin = find(source.name) if source.external is None else None
        if origin is not None:
            _size(config, origin, OF_SOURCES)


def _no_subsets(filters: list[str]) -> None:
    for number, first in enumerate(filters):
        for other, second in enumerate(filters):
            if other != number and pytokens.is_subset(first, second):
                raise api_error("JSSourceOverlappingSubjectFilters")


def _all_sources(config: StreamConfig) -> Iterable[StreamSource]:
    return [*([config.mirror] if config.mirror is not None else []), *config.sources]


def _prefixes(config: StreamConfig, find: Find) -> None:
    """Where the API of another domain is found, and where its messages come in."""
    externals = [source.external for source in _all_sources(config) if source.external is not None]
    local = (find(source.name) for source in _all_sources(config) if source.external is None)
    subjects = [subject for origin in local if origin is not None for subject in origin.subjects]
    for prefix in (external.deliver for external in externals if external.deliver):
        if not pytokens.is_valid_subject(prefix):
            raise api_error("JSStreamInvalidExternalDeliverySubjErrF", prefix=prefix)
        for subject in subjects:
            if pytokens.overlap(subject, f"{prefix}.{subject}"):
                raise api_error("JSStreamExternalDelPrefixOverlapsErrF", prefix=prefix, subject=subject)
    for prefix in (external.api for external in externals if external.api):
        if not pytokens.is_valid_subject(prefix):
            raise _invalid(f"stream external api prefix {quote(prefix)} must be a valid subject without wildcards")
        if pytokens.overlap(prefix, API_PREFIX):
            raise api_error("JSStreamExternalApiOverlapErrF", prefix=prefix, subject=API_PREFIX)


def _no_cycle(config: StreamConfig, find: Find) -> None:
    """No message comes back to where it was, through any number of sources and mirrors of this server."""
    to_visit, visited = deque([config]), set()
    while to_visit:
        at = to_visit.popleft()
        visited.add(at.name)
        for source in _all_sources(at):
            if source.external is not None:
                continue
            if source.name not in visited:
                origin = find(source.name)
                if origin is not None:
                    to_visit.append(origin)
            elif source is at.mirror or _takes_back(at, source):
                raise _invalid("detected cycle")


def _takes_back(config: StreamConfig, source: StreamSource) -> bool:
    if not source.filter_subject:
        return True
    return any(pytokens.overlap(subject, source.filter_subject) for subject in config.subjects)

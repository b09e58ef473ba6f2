"""What a memory measurement leaves behind: every sample as CSV, one table, one picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from millpond.cli.bench_memory_load import LoadResult
from millpond.monitor.memory_report import MemoryReport, slope_per_hour

MIB: Final = 1024 * 1024
SETTLED_AFTER_S: Final = 120.0
"""Growth is counted from here (or from half of a shorter run): before it, heaps and files find their size."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One second of one server, in bytes. Without a memory group of its own only `rss` and `page_cache`."""

    t_s: float
    rss: int
    working_set: int
    usage: int
    active_file: int
    inactive_file: int
    kernel: int
    anon: int
    page_cache: int
    operations: int
    """Answered since the start."""
    failed: int


class Series(msgspec.Struct, kw_only=True):
    """One server in one mode."""

    server: str
    mode: str
    fenced: bool
    samples: list[Sample] = []
    load: LoadResult = msgspec.field(default_factory=LoadResult)


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How one measure went, in bytes (slope: bytes per hour, after `settled_s`)."""

    server: str
    mode: str
    measure: str
    start: int
    settled: int
    settled_s: float
    end: int
    growth: int
    slope_per_hour: float


PANELS: Final = (
    ("rss", "RSS (process)"),
    ("working_set", "Working set (what Kubernetes counts)"),
    ("page_cache", "Page cache (active + inactive)"),
    ("kernel", "Kernel memory (slab and so on)"),
)


def sample_of(seen: MemoryReport, fenced: bool, t_s: float, load: LoadResult) -> Sample:
    """A report as a sample. Of a shared group nothing is taken but what is the process' own."""
    return Sample(
        t_s=round(t_s, 3),
        rss=seen.rss,
        working_set=seen.working_set if fenced else 0,
        usage=seen.cgroup_current if fenced else 0,
        active_file=seen.active_file if fenced else 0,
        inactive_file=seen.inactive_file if fenced else 0,
        kernel=seen.kernel if fenced else 0,
        anon=seen.anon,
        page_cache=seen.active_file + seen.inactive_file if fenced else seen.page_cache_own,
        operations=load.operations,
        failed=load.failed,
    )


def trend(series: Series, measure: str) -> Trend | None:
    """None for a series without samples, and for measures that need a group where there was none."""
    samples = series.samples
    if not samples or (not series.fenced and measure in ("working_set", "kernel")):
        return None
    whole_s = samples[-1].t_s
    settled_s = min(SETTLED_AFTER_S, whole_s / 2)
    later = [sample for sample in samples if sample.t_s >= settled_s] or samples[-1:]
    slope, _ = slope_per_hour([(sample.t_s, getattr(sample, measure)) for sample in later])
    end = getattr(samples[-1], measure)
    settled = getattr(later[0], measure)
    return Trend(
        server=series.server,
        mode=series.mode,
        measure=measure,
        start=getattr(samples[0], measure),
        settled=settled,
        settled_s=settled_s,
        end=end,
        growth=end - settled,
        slope_per_hour=slope,
    )


class CsvFile:
    """Every sample, as soon as it is taken: a measurement that is cut short leaves what it has."""

    FIELDS: Final = Sample.__struct_fields__

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["server", "mode", *self.FIELDS])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def add(self, series: Series, sample: Sample) -> None:
        self._writer.writerow([series.server, series.mode, *(getattr(sample, name) for name in self.FIELDS)])
        self._file.flush()


def verdict(runs: list[Series]) -> str:
    """For each series the most that was counted, and the growth, in words."""
    lines = [""]
    for series in runs:
        if not series.fenced or not series.samples:
            continue
        total, kernel = trend(series, "working_set"), trend(series, "kernel")
        assert total is not None and kernel is not None
        most = max(sample.working_set for sample in series.samples)
        lines.append(
            f"{series.server}, {series.mode}: working set {most / MIB:.1f} MiB at most; after {total.settled_s:.0f} s "
            f"it moved by {total.growth / MIB:+.1f} MiB, kernel memory by {kernel.growth / MIB:+.1f} MiB."
        )
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def table(runs: list[Series]) -> str:
    """The markdown table, and one line for each server and mode about its work."""
    trends = [t for series in runs for measure, _ in PANELS if (t := trend(series, measure))]
    settled = {t.settled_s for t in trends}
    mark = f"{settled.pop():.0f} s" if len(settled) == 1 else "settling"
    lines = [
        f"| mode | server | measure | start | after {mark} | end | growth after {mark} | slope |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    names = dict(PANELS)
    for t in sorted(trends, key=lambda t: (_order(runs, t.mode), [m for m, _ in PANELS].index(t.measure), t.server)):
        numbers = " | ".join(f"{n / MIB:.1f}" for n in (t.start, t.settled, t.end))
        label = names[t.measure].split(" (")[0]
        lines.append(
            f"| {t.mode} | {t.server} | {label} | {numbers} | {t.growth / MIB:+.1f} | "
            f"{t.slope_per_hour / MIB:+.1f} MiB/h |"
        )
    lines += ["", "All sizes in MiB.", ""]
    lines += ["| mode | server | taken | released | failed | operations/s | p50 | p99 |", "|---|---|" + "--:|" * 6]
    for series in runs:
        load = series.load
        rate = load.operations / load.seconds if load.seconds else 0
        lines.append(
            f"| {series.mode} | {series.server} | {load.published:,} | {load.released:,} | {load.failed:,} | "
            f"{rate:,.0f} | {load.p50_us / 1000:.2f} ms | {load.p99_us / 1000:.2f} ms |"
        )
    return "\n".join(lines) + "\n"


def draw(path: Path, runs: list[Series], title: str) -> None:
    """Four panels, a colour for each server, a line style for each mode. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    servers = list(dict.fromkeys(series.server for series in runs))
    modes = list(dict.fromkeys(series.mode for series in runs))
    colours = dict(zip(servers, ("#0b7285", "#d9480f", "#5f3dc4", "#2b8a3e"), strict=False))
    styles = dict(zip(modes, ("-", "--", ":"), strict=False))
    figure, axes = pyplot.subplots(2, 2, figsize=(12, 7.5), sharex=True, layout="constrained")
    for axis, (measure, label) in zip(axes.flat, PANELS, strict=True):
        for series in runs:
            if trend(series, measure) is None:
                continue
            axis.plot(
                [sample.t_s / 60 for sample in series.samples],
                [getattr(sample, measure) / MIB for sample in series.samples],
                styles[series.mode],
                color=colours[series.server],
                linewidth=1.6,
                label=series.server if len(modes) == 1 else f"{series.server}, {series.mode}",
            )
        _finish_panel(axis, label)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(servers)), frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _finish_panel(axis: Any, label: str) -> None:
    axis.set_title(label, loc="left", fontsize=10)
    axis.set_ylabel("MiB")
    axis.set_xlabel("minutes")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _order(runs: list[Series], mode: str) -> int:
    return list(dict.fromkeys(series.mode for series in runs)).index(mode)

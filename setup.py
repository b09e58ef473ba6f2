"""Build of the Cython data plane: every `.pyx` under `src/millpond` becomes one extension module.

`MILLPOND_BUILD=debug` turns on bounds and None checks, and the sanitizers for addresses and undefined behaviour;
`make debug-test` builds that in build/debug and runs the tests with it.
`MILLPOND_BUILD=profile` keeps the names of functions, for perf and callgrind; the code is the same.
`MILLPOND_ROOMS=wire,store` limits a development build to some folders.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")
DEBUG = os.environ.get("MILLPOND_BUILD") == "debug"
PROFILE = os.environ.get("MILLPOND_BUILD") == "profile"
WITHOUT_COMPILING = {"sdist", "egg_info", "dist_info", "clean"}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
ROOMS = [room for room in os.environ.get("MILLPOND_ROOMS", "").split(",") if room]
SHARED = "millpond._cython"
"""Cython's own helpers, once for all modules: in each of them they would be half of its code."""
RELEASE = ["-O2", "-fno-plt", "-fno-asynchronous-unwind-tables"]
"""No tables for unwinding: nothing here throws, and they are a twelfth of each module."""
RARE = tuple(
    f"millpond.{name}"
    for name in (
        "accounts.", "broker.account", "broker.imports", "broker.leavers", "broker.observed", "broker.responses",
        "jetstream.atomic_batches", "jetstream.batch_totals", "jetstream.consumer_acks", "jetstream.counters",
        "jetstream.domain_door", "jetstream.fast_batches", "jetstream.go_scan",
        "jetstream.markers", "jetstream.notices", "jetstream.pull_priority", "jetstream.purging",
        "jetstream.recovery_tail", "jetstream.schedules", "jetstream.source_scan", "jetstream.staging",
        "jetstream.starts", "jetstream.steps", "jetstream.storage_room", "jetstream.waiting_room", "store.backup.",
        "store.catalog", "store.closer", "store.compaction", "store.consumer_journal", "store.erasing", "store.packer",
        "store.pin", "store.recovery", "store.renewal", "store.repacking", "store.scan", "store.segment_files",
        "subjects.pytokens", "testing.",
    )
)
"""Not on the way of an ordinary message: compiled to be small, which saves nearly a third of their code."""
LINUX_LINK_ARGS = ["-Wl,-s", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"]
"""No symbols; no page of padding, and no page for addresses that are written once, in each of a hundred modules: half
a mebibyte. (The addresses would be protected; those in the type objects beside them, which are as good, cannot be.)"""


def check_tool_chain() -> None:
    """Say plainly what is missing before the compiler prints a page of errors."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        sys.exit(
            f"millpond: no C compiler found (looked for {compiler!r}). Its data plane is compiled when it is "
            "installed from source.\n  Fix: apt-get install gcc (Debian), dnf install gcc (Fedora), "
            "apk add gcc musl-dev (Alpine), xcode-select --install (macOS)."
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        sys.exit(
            f"millpond: the Python header {header} is missing.\n  Fix: apt-get install python3-dev (Debian), "
            "dnf install python3-devel (Fedora), apk add python3-dev (Alpine)."
        )


def extensions() -> list[Extension]:
    compile_args = ["-O1", "-g1", *SANITIZERS] if DEBUG else [*RELEASE, "-g1" if PROFILE else "-g0"]
    strip = sys.platform == "linux" and not PROFILE
    link_args = SANITIZERS if DEBUG else LINUX_LINK_ARGS if strip else []
    found = []
    for path in sorted((SOURCE / "millpond").rglob("*.pyx")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if ROOMS and not any(name.startswith(f"millpond.{room}") for room in ROOMS):
            continue
        small = ["-Os"] if name.startswith(RARE) and not DEBUG else []
        found.append(
            Extension(
                name,
                [str(path)],
                include_dirs=[str(SOURCE)],
                extra_compile_args=[*compile_args, *small, "-Wno-unused-function", "-Wno-unreachable-code"],
                extra_link_args=link_args,
            )
        )
    if found:
        found.append(Extension(SHARED, [str(SOURCE / "millpond" / "_cython.c")], extra_compile_args=compile_args,
                               extra_link_args=link_args))
    return found


def build() -> None:
    if WITHOUT_COMPILING.intersection(sys.argv):
        setup()
        return
    check_tool_chain()
    from Cython.Build import cythonize

    directives = {
        "language_level": 3,
        "boundscheck": DEBUG,
        "nonecheck": DEBUG,
        "wraparound": False,
        "initializedcheck": DEBUG,
        "cdivision": True,
        "binding": False,
        "auto_pickle": False,
        "freethreading_compatible": False,
    }
    modules = cythonize(
        extensions(),
        include_path=[str(SOURCE)],
        compiler_directives=directives,
        nthreads=0 if ROOMS else (os.cpu_count() or 1),
        build_dir="build/cython",
        shared_utility_qualified_name=SHARED,
    )
    setup(ext_modules=modules, options={"build_ext": {"parallel": os.cpu_count() or 1}})


if __name__ == "__main__":
    build()

"""Build of the Cython data plane: every `.pyx` under `src/millpond` is an extension module, and nearly all of them are
in one shared object, `millpond._compiled`. A hundred files would each be mapped, bound to Python's symbols and given
pages of their own: a third of a server's start and a tenth of its memory. `base/compiled.py` finds the modules in it.

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

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
TOGETHER = "millpond._compiled"
"""The shared object of all modules but those of APART."""
APART = ("millpond.bench.", "millpond.testing.")
"""A server has no use for them."""
RARE = tuple(
    f"millpond.{name}"
    for name in (
        "accounts.", "broker.account", "broker.imports", "broker.leavers", "broker.observed", "broker.responses",
        "jetstream.atomic_batches", "jetstream.batch_totals", "jetstream.consumer_acks", "jetstream.counters",
        "jetstream.domain_door", "jetstream.fast_batches", "jetstream.go_scan",
        "jetstream.markers", "jetstream.notices", "jetstream.pull_priority", "jetstream.purging",
        "jetstream.recovery_tail", "jetstream.schedules", "jetstream.source_scan", "jetstream.staging",
        "jetstream.starts", "jetstream.steps", "jetstream.storage_room", "jetstream.waiting_room", "store.backup.",
        "store.catalog", "store.closer", "store.compaction", "store.consumer_journal", "store.erasing", "store.fetcher",
        "store.maker", "store.one_thread", "store.packer", "store.pin", "store.recovery", "store.renewal",
        "store.repacking", "store.scan", "store.segment_files", "subjects.pytokens", "testing.",
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
    headers = sorted(str(path) for path in (SOURCE / "millpond").rglob("*.h"))
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
                depends=headers,                   # they include each other: nobody knows whose they are
                extra_compile_args=[*compile_args, *small, "-Wno-unused-function", "-Wno-unreachable-code"],
                extra_link_args=link_args,
            )
        )
    if found:
        found.append(Extension(SHARED, [str(SOURCE / "millpond" / "_cython.c")], extra_compile_args=compile_args,
                               extra_link_args=link_args))
    return found


MEMBERS_C = """\
/* The modules in this shared object. Written by setup.py. */
#include <Python.h>

%(declared)s

static const struct { const char* name; PyObject* (*init)(void); } members[] = {
%(rows)s
    {NULL, NULL}
};

static PyObject* names(PyObject* self, PyObject* nothing) {
    PyObject* found = PyList_New(0);
    for (int i = 0; found != NULL && members[i].name != NULL; i++) {
        PyObject* name = PyUnicode_FromString(members[i].name);
        if (name == NULL || PyList_Append(found, name) < 0) Py_CLEAR(found);
        Py_XDECREF(name);
    }
    return found;
}

/* As the import system does with a file of its own: PEP 489. */
static PyObject* create(PyObject* self, PyObject* spec) {
    PyObject* name = PyObject_GetAttrString(spec, "name");
    const char* wanted = name != NULL ? PyUnicode_AsUTF8(name) : NULL;
    PyObject *definition, *module = NULL;
    for (int i = 0; wanted != NULL && members[i].name != NULL; i++) {
        if (strcmp(members[i].name, wanted) != 0) continue;
        definition = members[i].init();
        if (definition != NULL) module = PyModule_FromDefAndSpec((PyModuleDef*)definition, spec);
        Py_DECREF(name);
        return module;
    }
    if (wanted != NULL) PyErr_Format(PyExc_ImportError, "no module %%s here", wanted);
    Py_XDECREF(name);
    return NULL;
}

static PyObject* execute(PyObject* self, PyObject* module) {
    PyModuleDef* definition = PyModule_GetDef(module);
    if (definition == NULL || PyModule_ExecDef(module, definition) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"names", names, METH_NOARGS, "The full names of the modules."},
    {"create", create, METH_O, "The module of a spec, not executed yet."},
    {"execute", execute, METH_O, "Execute a module that `create` made."},
    {NULL, NULL, 0, NULL}
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, functions};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
"""


def init_names(modules: list[str]) -> dict[str, str]:
    """By module, the function that makes it: named after its last name, or its whole name where others share that."""
    last = [module.rpartition(".")[2] for module in modules]
    return {
        module: f"PyInit_{name if last.count(name) == 1 else module.replace('.', '__')}"
        for module, name in zip(modules, last, strict=True)
    }


class TogetherBuild(build_ext):
    """Compiles each member of `millpond._compiled` on its own, when it is newer than its object, and links them all."""

    members: tuple[Extension, ...] = ()

    def build_extensions(self) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(self._compiled, self.members))
        for extension in self.extensions:
            if extension.name == TOGETHER:
                extension.extra_objects = extension.depends = objects
        super().build_extensions()

    def _compiled(self, member: Extension) -> str:
        (made,) = self.compiler.object_filenames(member.sources, output_dir=self.build_temp)
        if self.force or newer_group([*member.sources, *member.depends], made, "newer"):
            self.compiler.compile(
                member.sources, output_dir=self.build_temp, include_dirs=member.include_dirs, depends=member.depends,
                extra_postargs=member.extra_compile_args, macros=member.define_macros,
            )  # fmt: skip
        return made


def together(members: list[Extension]) -> Extension:
    """The extension of all of these."""
    functions = init_names([member.name for member in members])
    for member in members:
        usual = f"PyInit_{member.name.rpartition('.')[2]}"
        if functions[member.name] != usual:
            member.define_macros.append((usual, functions[member.name]))
    source = Path("build/cython/_compiled.c")
    text = MEMBERS_C % {
        "declared": "\n".join(f"PyMODINIT_FUNC {function}(void);" for function in functions.values()),
        "rows": "\n".join(f'    {{"{name}", {function}}},' for name, function in functions.items()),
    }
    if not source.exists() or source.read_text() != text:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
    TogetherBuild.members = tuple(members)
    return Extension(TOGETHER, [str(source)], extra_compile_args=RELEASE, extra_link_args=members[0].extra_link_args)


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
    if not DEBUG and not ROOMS:
        members = [module for module in modules if not module.name.startswith(APART)]
        modules = [together(members), *(module for module in modules if module.name.startswith(APART))]
    setup(
        ext_modules=modules,
        cmdclass={"build_ext": TogetherBuild},
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
    )


if __name__ == "__main__":
    build()

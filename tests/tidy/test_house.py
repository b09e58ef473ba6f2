"""The house keeps its shape: layers, no cycles, sizes, no asyncio below transport (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "millpond"
LAYERS = {
    "base": 0,
    "wire": 1,
    "subjects": 1,
    "structures": 1,
    "config": 1,
    "store": 2,
    "accounts": 3,
    "broker": 4,
    "jetstream": 5,
    "transport": 5,
    "monitor": 6,
    "cluster": 6,
    "mqtt": 6,
    "server": 7,
    "bench": 8,
    "cli": 8,
    "testing": 8,
}
SAME_LAYER_ALLOWED = {
    ("subjects", "wire"), ("wire", "structures"), ("subjects", "structures"), ("cli", "bench"), ("config", "subjects"),
}  # fmt: skip
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
STILL_TOO_LONG: dict[str, int] = {}
"""Files to be split; a name leaves this table when it is done, none is added."""
IMPORT = re.compile(r"^\s*(?:from|import)\s+(millpond[\w.]*)(?:\s+(c?import)\s+(\w+))?", re.M)
CIMPORT = re.compile(r"^\s*(?:from\s+(millpond[\w.]*)\s+)?cimport\s+(millpond[\w.]*|\w+)", re.M)


def modules() -> list[Path]:
    return sorted(
        path for suffix in ("*.py", "*.pyx", "*.pxd") for path in SOURCE.rglob(suffix) if path.stat().st_size > 1
    )


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def imported_rooms(text: str) -> set[str]:
    found = set()
    for dotted, _, name in IMPORT.findall(text):
        parts = dotted.split(".")
        if len(parts) > 1:
            found.add(parts[1])
        elif name:
            found.add(name)
    return found & set(LAYERS)


def type_checking_blocks_removed(text: str) -> str:
    return re.sub(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)+", "", text, flags=re.M)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_only_lower_layers(path: Path) -> None:
    here = room(path)
    if here not in LAYERS:
        return
    for other in imported_rooms(type_checking_blocks_removed(path.read_text())):
        if other == here or (here, other) in SAME_LAYER_ALLOWED:
            continue
        assert LAYERS[other] < LAYERS[here], f"{here} (layer {LAYERS[here]}) imports {other} ({LAYERS[other]})"


def test_no_cycles_inside_a_room() -> None:
    edges: dict[str, set[str]] = {}
    for path in modules():
        dotted = "millpond." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        text = type_checking_blocks_removed(path.read_text())
        targets = set()
        for target, _, name in IMPORT.findall(text):
            whole = f"{target}.{name}" if name else target
            targets.update({whole, target})
        edges.setdefault(dotted, set()).update(targets - {dotted})
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for target in edges.get(module, ()):
            if target in edges and not target.endswith("__init__"):
                visit(target, (*trail, module))
        done.add(module)

    for module in edges:
        visit(module, ())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    most = STILL_TOO_LONG.get(str(path.relative_to(SOURCE)), FILE_LINES_MAX)
    assert lines <= most, f"{path.name} has {lines} lines, at most {most}: split it"


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.suffix == ".py"], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_python_functions_are_short_and_typed_rooms_stay_sync(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{path.name}:{node.name} has {length} lines"
    if LAYERS.get(room(path), 9) < LAYERS["transport"] or room(path) == "jetstream":
        assert not re.search(r"^\s*(import|from) asyncio", path.read_text(), re.M), f"{path.name} imports asyncio"


CYTHON_FUNCTION = re.compile(r"^(\s*)(?:cdef|cpdef|def)\b(?! class| extern| enum| packed| struct)[^=\n]*\(", re.M)


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.suffix == ".pyx"], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_cython_functions_are_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    starts = [
        number
        for number, line in enumerate(lines)
        if CYTHON_FUNCTION.match(line) and (line.rstrip().endswith(":") or not line.rstrip().endswith(")"))
    ]
    for first in starts:
        indent = len(lines[first]) - len(lines[first].lstrip())
        last = first
        for number in range(first + 1, len(lines)):
            line = lines[number]
            if line.strip() and len(line) - len(line.lstrip()) <= indent and not line.lstrip().startswith(")"):
                break
            if line.strip():
                last = number
        assert last - first + 1 <= FUNCTION_LINES_MAX, f"{path.name}:{first + 1} has {last - first + 1} lines"
    assert "asyncio" not in path.read_text() or room(path) == "transport", f"{path.name} mentions asyncio"


# --- the door to the disk ---

FILE_WORK = re.compile(
    r"\bos\.(open|read|write|pread|pwrite|fsync|fdatasync|ftruncate|truncate|posix_fallocate|unlink|remove|rename|replace"
    r"|mkdir|makedirs|rmdir|link|symlink|stat|fstat|lstat|listdir|scandir|walk|dup|statvfs)\b|(?<![\w.\"])open\("
    r"|\.(read_bytes|read_text|write_bytes|write_text|iterdir|is_dir|is_file|touch|rmdir|unlink)\(|\bshutil\b|\bmmap\b"
    r"|\b(pread|pwrite|preadv2|ftruncate|fsync|fdatasync|posix_fallocate|openat)\s*\("
)
OTHER_FILES = {
    "jetstream/schedules_pattern.py": "the machine's time zones",
    "server/early.py": "counts streams before anything else is loaded",
    "server/directory.py": "accounts' tokens, which are no part of a store",
    "server/jetstream.py": "a private directory goes as a whole, when nobody has it any more",
    "server/lifecycle.py": "files of ports and process ids",
    "server/logs.py": "log files",
    "server/operator.py": "an operator's folder of tokens",
    "server/port_holder.py": "/proc",
    "server/trapped.py": "a pipe for signals",
    "store/one_thread.pyx": "descriptors of events", "store/packer.pyx": "descriptors of events",
}  # fmt: skip
"""What else is done with files, and where. `store/disk` is the door."""


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SOURCE.rglob("*.*")) if path.suffix in (".py", ".pyx", ".pxd", ".h")
     and room(path) in ("store", "jetstream", "server")],
    ids=lambda path: str(path.relative_to(SOURCE)),
)  # fmt: skip
def test_files_of_a_store_are_touched_through_the_door(path: Path) -> None:
    name = str(path.relative_to(SOURCE))
    if name in OTHER_FILES or path.stem == "disk":
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code = line.partition("#")[0] if path.suffix != ".h" else line
        found = FILE_WORK.search(re.sub(r"\bself\.|\b_?disk\.\w+\(|behind\.\w+\(", "", code))
        assert found is None or "disk." in code or "def " in code, f"{name}:{number}: {line.strip()}"

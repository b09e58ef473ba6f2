# `make run` and `make test` do all their own set-up: virtual environment, dependencies, build.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SOURCES := $(shell find src/millpond -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.PHONY: run test check package crash starts kills oom damage bits full-disk stall simulate syscalls mutations model soak prove \
	differential clean fuzz debug-build debug-test debug-fuzz bench bench-quick bench-growth instructions client-suites \
	client-js

run: build
	$(BIN)/millpond serve --jetstream --addr 127.0.0.1

# Two at a time: the tests that compare two servers wait for answers more than they compute. A module stays together, for
# it has its servers to itself.
test: build
	$(BIN)/python -m pytest -n 2 --dist loadscope

check: build
	$(BIN)/ruff check src tests tools benchmarks setup.py
	$(BIN)/mypy

package: build
	$(BIN)/python -m pytest -m slow tests/package

crash: build
	$(BIN)/python -m pytest -s -m slow tests/crash

# Starts after a kill: of so many streams, and of one with so many messages of 1 KiB (12 GB of disk).
starts: STREAMS = 35000
starts: MESSAGES = 10000000
starts: build
	MILLPOND_STREAMS=$(STREAMS) MILLPOND_MESSAGES=$(MESSAGES) $(BIN)/python -m pytest -s -m slow tests/crash/test_starts.py

# Faults that are seeded into a copy of the store, one at a time: do the tests notice? FAULTS: names, or all of them.
mutations: build
	$(BIN)/python tests/mutations/run.py $(FAULTS)

JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# Kill -9 at every moment, JOBS stores at a time.
kills: KILLS = 10000
kills: build
	$(BIN)/python -m tests.kills.campaign --kills $(KILLS) --jobs $(JOBS)

# The same for want of memory, in groups of 64 MiB.
oom: KILLS = 1000
oom: build
	$(BIN)/python -m tests.kills.campaign --oom --kills $(KILLS) --jobs $(JOBS)

CYCLES ?= 200

full-disk: build
	MILLPOND_FULL_DISK_CYCLES=$(CYCLES) $(BIN)/python -m pytest -s -m slow tests/crash/test_full_disk.py

# A disk that stands still for STALL seconds: its syncs; then the whole device, which takes root.
STALL ?= 30

stall: build
	MILLPOND_STALL_S=$(STALL) $(BIN)/python -m pytest -s -m slow tests/crash/test_stalled_disk.py tests/crash/test_still_device.py

CASES ?= 100000

# So many damages at random, to stores of every kind.
damage: build
	$(BIN)/python -m tests.corruption.campaign --cases $(CASES) --stores 20 --scale 10 --jobs $(JOBS)

MIB ?= 1

# Every single bit of stores of so many MiB: flipped, opened, read, compared.
bits: build
	$(BIN)/python -m tests.corruption.every_bit --mib $(MIB) --jobs $(JOBS)

EXAMPLES ?= 3000

model: build
	MILLPOND_MODEL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/property/test_stream_model.py \
		tests/property/test_reader_model.py tests/property/test_consumer_model.py tests/property/test_retention_model.py

# Simulated power cuts, in memory: SEEDS lives, CUTS in all of them together, from the seed FIRST on, in JOBS processes.
simulate: SEEDS = 1000
simulate: CUTS = 100000
simulate: FIRST = 1000000
simulate: build
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulator.run --seeds $(SEEDS) --cuts $(CUTS) --first $(FIRST) --jobs $(JOBS)

# Every call that a script makes of the disk: refused with each error it may have, and a crash before and within it.
# EVERY: each k-th case only.
EVERY ?= 1

syscalls: build
	$(BIN)/python -m tests.syscalls.campaign --every $(EVERY)

MINUTES ?= 30

soak: build
	MILLPOND_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest -s -m slow tests/soak

# All of that in MINUTES together (20 when none are given), and nats-server beside it: one table at the end.
prove: MINUTES = 20
prove: build
	$(BIN)/python -m tests.prove --minutes $(MINUTES)

SEEDS ?= 50

differential: build
	MILLPOND_RANDOM_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/conformance/test_random_consumers.py \
		tests/conformance/test_random_streams.py

# Where PYTHONDONTWRITEBYTECODE is set, nobody else would write it, and each start would compile everything again.
BYTECODE = $(BIN)/python -m compileall -q src/millpond

build: $(STAMP) build/.compiled

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "millpond needs Python >= 3.11, this is " + sys.version.split()[0] + ". Fix: make PYTHON=python3.11 test")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet 'setuptools>=77' 'cython>=3.3'
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	$(BYTECODE)
	touch $@
	@mkdir -p build && touch build/.directives build/.compiled   # the install above compiled everything

# Other directives make other C of the same sources: everything is made anew.
build/.directives: setup.py
	rm -rf build/cython build/temp.* && mkdir -p build && touch $@

build/.compiled: $(STAMP) build/.directives $(SOURCES)
	$(BIN)/python setup.py --quiet build_ext --inplace
	$(BYTECODE)
	@mkdir -p build && touch $@

SECONDS ?= 60
# The AddressSanitizer needs the allocator to itself. CPython keeps what it has made until the end: no leak check.
DEBUG := build/debug
SANITIZED = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" PYTHONMALLOC=malloc PYTHONPATH=$(DEBUG)/src \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1

fuzz: build
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

debug-build: $(STAMP)
	@mkdir -p $(DEBUG)
	tar --exclude='*.so' -cf - src setup.py pyproject.toml README.md | tar -C $(DEBUG) -xf -
	cd $(DEBUG) && MILLPOND_BUILD=debug $(abspath $(BIN)/python) setup.py --quiet build_ext --inplace

debug-test: debug-build
	$(SANITIZED) $(BIN)/python -m pytest -p no:cacheprovider tests/unit tests/property

debug-fuzz: debug-build
	$(SANITIZED) $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

bench: build
	$(BIN)/python benchmarks/compare.py

bench-quick: build
	$(BIN)/python benchmarks/compare.py --quick

# Only the section about growth of docs/performance.md.
bench-growth: build
	$(BIN)/python benchmarks/compare.py --growth

instructions: build
	$(BIN)/python benchmarks/instructions.py

# The suite of a client that lies in DIRECTORY, with both servers: docs/compatibility.md has the commands.
client-suites: build
	$(BIN)/python tests/clients/suites.py --directory $(DIRECTORY) -- $(SUITE)

# Node.js and npm have to be there; the packages go into build/.
client-js: build build/client-js/package.json
	$(BIN)/python -m pytest -m slow tests/clients/test_ways_js.py

build/client-js/package.json: tests/clients/js/package.json
	@command -v npm >/dev/null || { echo "client-js needs Node.js >= 20 with npm on PATH" >&2; exit 2; }
	@mkdir -p $(@D)
	cp $< $@
	npm install --prefix $(@D) --no-audit --no-fund --no-package-lock || { rm $@; exit 1; }

clean:
	rm -rf build $(VENV) src/millpond.egg-info
	find src -name '*.so' -delete

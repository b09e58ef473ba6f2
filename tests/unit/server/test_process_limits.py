"""What the process of `millpond serve` asks of the system."""

from __future__ import annotations

import resource
import subprocess
import sys

from millpond.server.lifecycle import raise_descriptor_limit

IMPORTS = """
import sys
from millpond.cli import lean
lean.load()
import millpond.server.lifecycle
print(sorted({"_ssl", "_hashlib", "ssl", "hashlib"} & set(sys.modules)))
"""


def test_serving_does_not_load_openssl() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "this module costs 4 MiB; see docs/decisions/0001"


def test_as_many_descriptors_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

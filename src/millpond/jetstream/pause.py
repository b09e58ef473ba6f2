"""Why the reading of a backup does not go on at once."""

from __future__ import annotations

import enum

HUNGRY, AGAIN, UNWRITTEN, COMPLETE, FAULTY = range(5)
"""Loaded, in store/backup/load.pxd."""


class Pause(enum.Enum):
    """What has to happen first."""

    HUNGRY = "it needs more of the backup"
    STEP = "a step is done"
    UNWRITTEN = "the store has to commit first"

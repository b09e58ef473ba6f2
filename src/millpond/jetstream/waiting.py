"""The outcome of a judgement that cannot be made before a message was read from disk, or a rollup is over."""

from __future__ import annotations

from typing import Final


class Wait:
    """Ask again when it goes on."""


WAIT: Final = Wait()

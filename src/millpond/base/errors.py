"""The kinds of trouble, told apart by whose they are (design.md 8.6).

Expected outcomes are values, not exceptions. A peer's mistake is a `PeerError`; ours is an
`assert`; the world's (disk, sockets, permissions) is an `OSError` or a `StoreError`.
"""

from __future__ import annotations


class MillpondError(Exception):
    """Root of the errors that this package raises on purpose."""


class PeerError(MillpondError):
    """A peer broke the protocol. `reason` is the closed reason that /connz shows."""

    def __init__(self, message: str, reason: str = "Protocol Violation") -> None:
        super().__init__(message)
        self.reason = reason


class ApiError(MillpondError):
    """A JetStream request that is refused: the `error` object of the reply (errors.json)."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} ({err_code})")
        self.code = code
        self.err_code = err_code
        self.description = description


class StoreError(MillpondError):
    """The store cannot do what was asked: bad file, full disk, failed sync."""


class StoreInUseError(StoreError):
    """Another server holds the store directory."""


class BackupError(MillpondError):
    """A backup that cannot be restored; the text is what its sender is told."""


class OptionError(MillpondError):
    """A flag or configuration value that cannot be used; the text names it, why, and one fix."""

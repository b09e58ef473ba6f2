"""What signed tokens of a configuration say. JWTs come with the first server that has an operator."""

from __future__ import annotations

from millpond.config.options import Options


def judge_token(kind: str, token: str) -> None:
    """For `config.file.read`. Raises OptionError."""
    from millpond.accounts import operator

    operator.judge_token(kind, token)


def with_operator(options: Options) -> Options:
    """The options with what the operators say. Raises OptionError."""
    if options.operator is None:
        return options
    from millpond.accounts import operator

    return operator.completed(options)

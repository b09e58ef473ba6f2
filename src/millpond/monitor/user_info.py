"""`$SYS.REQ.USER.INFO`: what a connection may know of itself (reference 07.2)."""

from __future__ import annotations

import time
from typing import Any

from millpond.config.security import Permissions, SubjectPermission


def user_info(source: Any) -> dict[str, Any]:
    """Of the session that asks. What the configuration does not restrict is not shown."""
    info = source.info(False)
    account = info.account_tag or info.account
    shown: dict[str, Any] = {"user": info.authorized_user, "account": info.account, "account_name": account}
    if info.user_tag:
        shown["user_name"] = info.user_tag
    user = source.identity.user if source.identity is not None else None
    if user is not None and user.permissions is not None:
        shown["permissions"] = _permissions(user.permissions)
    credential = source.identity.credential if source.identity is not None else None
    if credential is not None and credential.ends_s:
        shown["expires"] = max(0, int((credential.ends_s - time.time()) * 1e9))
    return shown


def _permissions(permissions: Permissions) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "publish": _subjects(permissions.publish),
        "subscribe": _subjects(permissions.subscribe),
    }
    if (responses := permissions.responses) is not None:
        shown["responses"] = {"max": responses.max_msgs, "ttl": responses.expires_ns}
    return shown


def _subjects(permission: SubjectPermission | None) -> dict[str, list[str]]:
    if permission is None:
        return {}
    lists = {"allow": sorted(permission.allow or ()), "deny": sorted(permission.deny)}
    return {name: subjects for name, subjects in lists.items() if subjects}

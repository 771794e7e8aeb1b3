"""Errors of exports that cannot be made."""

from __future__ import annotations

import importlib.util

from nas.errors import UserError

EXTRA = "pip install 'nas-fpn[export]'"


class ExportError(UserError):
    """Something that cannot be exported; the message says why and what can be."""


def require(*packages: str, why: str) -> None:
    """
    Raises:
        ExportError: if a package of the extra `export` is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"{why} needs {', '.join(missing)}: {EXTRA}")

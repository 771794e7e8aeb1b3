"""Places in the user's cache: for copies of what is at URLs, and for marks of what the user has started."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from tempfile import gettempdir


def cache_path(kind: str, identity: str, shown: str) -> Path:
    """The same path for the same identity, such as a URL, in `XDG_CACHE_HOME` or `~/.cache`; it need not be there.

    Args:
        kind: directory for entries of this kind.
        shown: the identity without what is secret in it, for a name that people can read.
    """
    home = os.environ.get("HOME")
    default = Path(home) / ".cache" if home else Path(gettempdir())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or default)
    identity = identity.rstrip("/")
    readable = re.sub(r"[^A-Za-z0-9]+", "-", shown.rstrip("/")).strip("-")[-40:]
    return (caches / "nas-fpn" / kind / f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}").absolute()

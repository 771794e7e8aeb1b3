"""What a command says beside its results, kept in a file of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from nas.terminal import PlainFormatter

BYTES = 2**20
"""Of the file; the one before it is kept as well."""


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Within, what this project logs, warnings of workers among it, goes to `path` too, with the time."""
    handler = RotatingFileHandler(path, maxBytes=BYTES, backupCount=1, delay=True)
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("nas")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()

"""Log of a command, in a file of bounded size."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from nas.terminal import PlainFormatter

_log = logging.getLogger(__name__)

BYTES = 2**20
"""Largest size of the file; the one before it is kept as well."""


class _File(RotatingFileHandler):
    """Log that is given up with one line when it cannot be written, on a full disk say; the command goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        logging.getLogger("nas").removeHandler(self)
        _log.warning("%s cannot be written (%s); nothing more is logged there", self.baseFilename, sys.exc_info()[1])


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Within, what this project logs, warnings of workers among it, goes to `path` too, with the time."""
    handler = _File(path, maxBytes=BYTES, backupCount=1, delay=True)
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("nas")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):  # as when it was written
            handler.close()

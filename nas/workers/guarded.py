"""Errors of a payload told from those of the process that runs it."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from nas.workers.answers import Failed

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def guarded(work: Callable[[], Result], name: str, expected: tuple[type[Exception], ...] = ()) -> Result | Failed:
    """The result of some work, or that it failed; then nobody tries it again.

    Args:
        name: of the work, for the log.
        expected: errors whose message says enough; of others the class and the line of code are told, too.

    Raises:
        torch.AcceleratorError, OSError: when it is this process or its machine that can no longer work.
    """
    _free_gpu()
    try:
        return work()
    except expected as error:
        return Failed(shown(str(error), MESSAGE_LIMIT))
    except Exception as error:
        if isinstance(error, OSError) or _gpu_is_broken(error):
            raise  # another process has to try again
        _log.exception("%s failed", name)
        return Failed(_described(error))


def _described(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return shown(f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})", MESSAGE_LIMIT)


def _gpu_is_broken(error: Exception) -> bool:
    """Torch is not imported here: work without it need not wait for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.AcceleratorError)


def _free_gpu() -> None:
    """Give back what the work before left on the GPU, after an out-of-memory error above all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()

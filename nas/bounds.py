"""Numbers of configurations: their types, which take no number that is not meant, and how large they may be.

The bounds refuse what would hang or fill the memory before anything is said; no real use comes near them.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, AllowInfNan, Strict

Int = Annotated[int, Strict()]
"""A whole number; `True`, `4.0` and `"4"` are none. Every integer of a configuration has this type."""
Float = Annotated[float, Strict(), AllowInfNan(False)]
"""A finite number; `True`, `"0.5"`, NaN and infinity are none. Every float of a configuration has this type."""

MAX_SEED = 2**32 - 1
"""Largest seed that all generators in use take."""
MAX_STEPS = 10**9
"""Steps of a training: years on any machine."""
MAX_EPOCHS = 100_000
MAX_IMAGES = 10**6
"""Images that are made, or held out."""
MAX_IMAGE_SIZE = 16_384
"""Side of a training image in pixels: one batch of one is 3 GB of float32."""
MAX_BATCH = 65_536
MAX_TRIALS = 10**6
"""Trials of a search; the NAS-FPN paper has 8,000."""
MAX_PROCESSES = 10_000
"""Trials at once, or processes and threads of one training."""
MAX_RETRIES = 1000
MAX_SECONDS = 10**8
"""Three years."""
MIN_SHARE = 0.01
"""Smallest share of a CPU or GPU; a trial with less of one would share it with more than a hundred others."""
MAX_SHAPES = 16
"""Anchor sizes, or anchor ratios, of one place of a map; RetinaNet has three of each."""
MAX_PROPOSALS = 100_000
"""Boxes of one image at any stage."""


def _without_odd_numbers(value: Any) -> Any:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for each in inside:
        _without_odd_numbers(each)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"numbers must be finite, got {value}")
    return value


Options = Annotated[dict[str, Any], AfterValidator(_without_odd_numbers)]
"""Keyword arguments that somebody else checks; JSON has no NaN and no infinity."""

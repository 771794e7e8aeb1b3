"""A training's state as bytes that say which training they belong to.

The bytes are the SHA-256 of what follows, one line of JSON with the facts, and what `torch.save` writes of the state.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import torch

_log = logging.getLogger(__name__)

FORMAT = 1
"""Rises whenever the meaning of the state changes."""
DIGEST_BYTES = 32

Facts = Mapping[str, Any]
"""Facts that a training must share with another to continue its state, in JSON's types."""


def pack(facts: Facts, state: Mapping[str, Any]) -> bytes:
    """
    Args:
        state: tensors, numbers, text, None, and dicts and lists of them.
    """
    body = BytesIO()
    torch.save(state, body)
    content = json.dumps(_header(facts)).encode() + b"\n" + body.getvalue()
    return hashlib.sha256(content).digest() + content


def unpack(data: bytes, facts: Facts, device: torch.device) -> dict[str, Any] | None:
    """The state on `device`, or None, with a warning, where the bytes are damaged or their facts are others."""
    digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        _log.warning("the checkpoint is damaged; the training starts at the beginning")
        return None
    line, _, body = content.partition(b"\n")
    found, expected = json.loads(line), _header(facts)
    if found != expected:
        others = ", ".join(sorted(name for name in found | expected if found.get(name) != expected.get(name)))
        _log.warning("the checkpoint is of another training (other %s); this one starts at the beginning", others)
        return None
    state: dict[str, Any] = torch.load(BytesIO(body), weights_only=True, map_location=device)
    return state


def _header(facts: Facts) -> dict[str, Any]:
    return {"format": FORMAT, "torch": str(torch.__version__), **facts}

"""Damage to files: what disks, editors, copying and strangers do to them, drawn from a seed."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

PRIVATE = b"PRIVATE, not to be copied"

ODD_VALUES = (
    None, True, False, 0, 1, -1, 2, 10**30, -(2**63), 0.5, -0.0, 1e308, math.nan, math.inf, "", "0", "P3", "../../x",
    "\x00", "\ud83d", "é" * 300, [], {}, [[]], [None], {"": None}, [0] * 50, [1, "a"],
    3.0, 4.5, 10**9, 2**63, 2**64, -1.5, 1e-320, -math.inf, "1", "4.0", "-1", "1e9", "true", "nan", [True], [3.0],
    [math.nan, 1.0], list(range(3000)), [[[[[[[]]]]]]], {"level": 3}, "x" * 10_000,
)  # fmt: skip

Damage = Callable[[Path, random.Random], None]


def damaged(data: Any, rng: random.Random) -> Any:
    """A copy with one to four places changed: another value, something missing, something twice, something unknown."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holders = [holder for holder in _holders(data) if len(holder)]
        if not holders:
            return rng.choice(ODD_VALUES)
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        what = rng.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif what == 1:
            holder[f"{key}_"] = rng.choice(ODD_VALUES)
        elif what == 2:
            holder[key] = rewritten(holder[key])
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return data


def rewritten(value: Any) -> Any:
    """The same in another way: a number as text, an integer as a float, 0 and 1 as booleans, and all of it back."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return {0: float(value), 1: str(value), 2: bool(value)}[value % 3] if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else str(value)
    return [value] if isinstance(value, str) else value


def torn(raw: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes changed, or with bytes put in."""
    if rng.random() < 0.3:
        return raw[: rng.randrange(len(raw))]
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(min(len(changed), rng.choice((64, len(changed)))))
        new = rng.randbytes(rng.randrange(1, 4))
        old = len(new) if rng.random() < 0.7 else rng.randrange(4)
        changed[place : place + old] = new
    return bytes(changed)


def _holders(data: Any) -> list[Any]:
    if not isinstance(data, dict | list):
        return []
    inside = data.values() if isinstance(data, dict) else data
    return [data, *(holder for entry in inside for holder in _holders(entry))]


def _content(make: Callable[[bytes, random.Random], bytes]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        path.write_bytes(make(path.read_bytes(), rng))

    return damage


def _in_place(make: Callable[[Path], object]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


def _link_outside(path: Path) -> None:
    private = path.parent.parent / "private.txt"
    private.write_bytes(PRIVATE)
    path.symlink_to(private)


def _weights(change: Callable[[dict[str, Any], str], None]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        tensors = load_file(path)
        wide = sorted(name for name, value in tensors.items() if value.is_floating_point() and value.dim())
        change(tensors, rng.choice(wide))
        path.unlink()
        save_file(tensors, path)

    return damage


ANY: dict[str, Damage] = {
    "cut": _content(lambda raw, rng: raw[: len(raw) // 2]),
    "empty": _content(lambda raw, rng: b""),
    "zeros": _content(lambda raw, rng: bytes(len(raw))),
    "torn": _content(torn),
    "page": _content(lambda raw, rng: b"<html>404</html>"),
    "gone": _in_place(lambda path: None),
    "directory": _in_place(Path.mkdir),
    "pipe": _in_place(os.mkfifo),
    "device": _in_place(lambda path: path.symlink_to("/dev/zero")),
    "link outside": _in_place(_link_outside),
    "link to nothing": _in_place(lambda path: path.symlink_to("nowhere")),
    "link to itself": _in_place(lambda path: path.symlink_to(path.name)),
}
"""Damage to any file."""

TEXT: dict[str, Damage] = {
    "list": _content(lambda raw, rng: b"[1, 2]"),
    "null": _content(lambda raw, rng: b"null"),
    "number": _content(lambda raw, rng: b"3"),
    "text": _content(lambda raw, rng: b'"neck"'),
    "utf-16": _content(lambda raw, rng: raw.decode().encode("utf-16")),
    "utf-32": _content(lambda raw, rng: raw.decode().encode("utf-32")),
    "mark": _content(lambda raw, rng: b"\xef\xbb\xbf" + raw),
    "latin-1": _content(lambda raw, rng: raw.replace(b'": ', '\xe9": '.encode("latin-1"), 1)),
    "deep": _content(lambda raw, rng: b"[" * 100_000 + b"]" * 100_000),
    "deep inside": _content(lambda raw, rng: raw.rstrip()[:-1] + b', "x": ' + b"[" * 500 + b"]" * 500 + b"}"),
    "digits": _content(lambda raw, rng: raw.rstrip()[:-1] + b', "x": ' + b"9" * 5_000 + b"}"),
    "long number": _content(lambda raw, rng: raw.rstrip()[:-1] + b', "x": ' + b"9" * 400 + b"}"),
    "nan": _content(lambda raw, rng: raw.rstrip()[:-1] + b', "x": NaN}'),
}
"""Damage to JSON of which none can be meant."""


def _value(path: Path, rng: random.Random) -> None:
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), rng)))


VALUES: dict[str, Damage] = {"values": _value}
"""Damage that may leave what can be used."""

TENSORS: dict[str, Damage] = {
    "nan weights": _weights(lambda tensors, name: tensors[name].view(-1)[:1].fill_(math.nan)),
    "infinite weights": _weights(lambda tensors, name: tensors[name].view(-1)[:1].fill_(math.inf)),
    "one other weight": _weights(lambda tensors, name: tensors[name].view(-1)[:1].add_(1)),
    "other shape": _weights(lambda tensors, name: tensors.update({name: torch.zeros(3, 3)})),
    "whole numbers": _weights(lambda tensors, name: tensors.update({name: tensors[name].long()})),
    "lost tensor": _weights(lambda tensors, name: tensors.__delitem__(name)),
    "more tensors": _weights(lambda tensors, name: tensors.update(more=torch.zeros(3))),
}
"""Damage to safetensors."""


def damages_of(name: str) -> dict[str, Damage]:
    """All kinds for a file of this name."""
    return {**ANY, **({**TEXT, **VALUES} if name.endswith(".json") else TENSORS)}


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))

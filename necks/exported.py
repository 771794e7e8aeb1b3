"""A neck as plain files: what it is made of as JSON, weights as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from necks.bounds import built
from necks.contract import Neck
from necks.finite import require_finite
from necks.merge_neck import MergeNeck
from necks.modules import KINDS
from necks.recipe import Recipe
from search_space import Genotype

GENOTYPE_FILE = "genotype.json"
NECK_FILE = "neck.json"
WEIGHTS_FILE = "neck.safetensors"
FORMAT_VERSION = 2


def neck_to_dict(neck: Neck) -> dict[str, Any]:
    """Kind and constructor arguments as plain data for JSON; necks within a neck, genotypes and recipes included.

    Raises:
        ValueError: for a neck of a class that is not in `KINDS`.
    """
    kind = next((name for name, cls in KINDS.items() if type(neck) is cls), None)
    if kind is None:
        raise ValueError(f"a {type(neck).__name__} cannot be exported; exported are {', '.join(KINDS)}")
    return {"kind": kind, **{name: _to_plain(value) for name, value in neck.arguments().items()}}


def neck_from_dict(data: dict[str, Any]) -> Neck:
    """A neck with fresh weights from what `neck_to_dict` gave.

    Raises:
        ValueError: for an unknown kind or argument.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a neck is a mapping of its kind and arguments, got {data!r}")
    arguments = dict(data)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind of neck {kind!r}; this version knows {', '.join(KINDS)}")
    readers = {"genotype": Genotype.from_dict, "recipe": Recipe.from_dict, "neck": neck_from_dict}
    for name in readers.keys() & arguments.keys():
        arguments[name] = readers[name](arguments[name])
    try:
        return built(lambda: KINDS[kind](**arguments), _widths(arguments))
    except TypeError as error:
        raise ValueError(f"the arguments {sorted(arguments)} do not fit a neck of kind {kind!r}: {error}") from error


def save_exported(neck: Neck, directory: str | Path) -> None:
    """Write `neck.json` and `neck.safetensors`, and for a merge graph its topology alone as `genotype.json`.

    Raises:
        ValueError: for a fused neck, whose weights no arguments lead back to, and for weights that are not finite.
    """
    if neck.fused:
        raise ValueError("a fused neck cannot be saved; save the neck that it was made from and fuse it after loading")
    require_finite(neck.state_dict(), "the neck")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    data = {"format": FORMAT_VERSION, **neck_to_dict(neck)}
    if isinstance(neck, MergeNeck):
        (directory / GENOTYPE_FILE).write_text(neck.genotype.to_json() + "\n")
    (directory / NECK_FILE).write_text(json.dumps(data, indent=2) + "\n")
    weights = {name: value.contiguous() for name, value in neck.state_dict().items()}
    save_file(weights, str(directory / WEIGHTS_FILE))


def load_exported(directory: str | Path) -> Neck:
    """The neck that `save_exported` wrote, with its weights, in evaluation mode, on the CPU.

    Raises:
        ValueError: if a file is missing or was written by another format version, or weights are not finite.
    """
    directory = Path(directory)
    missing = [name for name in (NECK_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
    if missing:
        raise ValueError(f"{directory} is no exported neck: {', '.join(missing)} missing; write one with nasfpn export")
    data = json.loads((directory / NECK_FILE).read_text())
    if data.pop("format", None) != FORMAT_VERSION:
        raise ValueError(f"{directory / NECK_FILE} has another format; this version reads format {FORMAT_VERSION}")
    neck = neck_from_dict(data)
    weights = load_file(str(directory / WEIGHTS_FILE))
    require_finite(weights, str(directory / WEIGHTS_FILE))
    neck.load_state_dict(weights)
    return neck.eval()


def _widths(arguments: Mapping[str, Any]) -> list[Any]:
    values = (arguments.get(name, ()) for name in ("in_channels", "out_channels", "expanded"))
    return [width for value in values for width in (value if isinstance(value, list | tuple) else [value])]


def _to_plain(value: Any) -> Any:
    if isinstance(value, Neck):
        return neck_to_dict(value)
    if isinstance(value, Genotype | Recipe):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value

"""Weights from files that strangers wrote: tensors are read, code is not run."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from nas.errors import UserError
from necks.reference.load import WRAPPERS

PREFIXES = ("module.", "model.")
"""Of data-parallel copies and training wrappers, where all names have them."""


class CheckpointError(UserError):
    """A file that holds no weights, or more than weights; the message says what to do."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a file holds, by name: a state dict, or a dict that a training program kept one in.

    Args:
        path: a `.safetensors` file, or what `torch.save` wrote. Of the latter only tensors and plain values are read;
            what would run code is refused.

    Raises:
        CheckpointError: if the file is missing, damaged, holds anything else, or asks for code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; give the path of a state dict (.pth, .pt, .safetensors)")
    try:
        content = load_file(str(path)) if path.suffix == ".safetensors" else _tensors_only(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except Exception as error:  # torn files raise anything
        raise CheckpointError(f"{path} cannot be read as weights ({_brief(error)}); copy it again") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict; {_ADVICE}")
    return dict(content)


def state_dict_of(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The state dict in what `read_checkpoint` gave, freed of wrappers and of prefixes that all its names have.

    Args:
        source: what to call it in errors.

    Raises:
        CheckpointError: if it holds anything but tensors by name.
    """
    for wrapper in WRAPPERS:
        if isinstance(inside := content.get(wrapper), Mapping):
            return state_dict_of(inside, source)
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not content:
        found = f"holds also {', '.join(others[:5])}" if others else "is empty"
        raise CheckpointError(f"{source} is no state dict: it {found}; {_ADVICE}")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in content):
            return state_dict_of({name.removeprefix(prefix): value for name, value in content.items()}, source)
    return dict(content)


_ADVICE = "save model.state_dict() alone, with torch.save or safetensors.torch.save_file"


def _tensors_only(path: Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")


def _refusal(path: Path, reason: str) -> str:
    """torch names the first thing in the file that it will not make."""
    if (named := re.search(r"GLOBAL (\S+)", reason)) is None:
        return f"{path} cannot be read as weights: it is damaged, or was not written by torch.save; {_ADVICE}"
    return (
        f"{path} holds more than tensors and plain values ({named[1]}), and making that could run code, so it is "
        f"refused; where the file is trusted, {_ADVICE}, and give that file"
    )


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"

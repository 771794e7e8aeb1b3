"""Weights from files that strangers wrote: tensors are read, code is not run."""

from __future__ import annotations

import pickle
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import UserError
from necks.files import check_finite, read_tensors
from necks.reference.load import unwrapped
from necks.reference.names import WeightsError
from search_space.files import is_there

PREFIXES = ("module.", "model.")
"""Prefixes of data-parallel copies and training wrappers, where all names have them."""


class CheckpointError(UserError):
    """A file that holds no weights, or more than weights; the message says what to do."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Contents of a file by name: a state dict, or a dict in which a training program kept one.

    Args:
        path: a `.safetensors` file, or what `torch.save` wrote. Of the latter only tensors and plain values are read;
            what would run code is refused.

    Raises:
        CheckpointError: if the file is missing, damaged, holds anything else, or asks for code to be run.
    """
    path = Path(path)
    if not is_there(path) or not stat.S_ISREG(path.stat().st_mode):
        raise CheckpointError(f"{path} is not a file; give the path of a state dict (.pth, .pt, .safetensors)")
    if path.suffix == ".safetensors":
        return dict(read_tensors(path, CheckpointError))
    _refuse_packed(path)
    try:
        content = _tensors_only(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except Exception as error:  # torch's reader raises anything for torn files, assertions and missing keys included
        raise CheckpointError(f"{path} cannot be read as weights ({_brief(error)}); copy it again") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict; {_ADVICE}")
    return dict(content)


def state_dict_of(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The state dict in what `read_checkpoint` gave, freed of wrappers and of prefixes that all its names have.

    Args:
        source: what to call it in errors.

    Raises:
        CheckpointError: if it holds anything but tensors by name, a tensor that pretends to be larger than its numbers
            are, or one with numbers that are not finite.
    """
    try:
        content = unwrapped(content)
    except WeightsError as error:
        raise CheckpointError(f"{source} is no state dict: {error}") from error
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not content:
        found = f"holds also {', '.join(others[:5])}" if others else "is empty"
        raise CheckpointError(f"{source} is no state dict: it {found}; {_ADVICE}")
    _refuse_hollow(content, source)
    check_finite(source, content, CheckpointError)
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in content)), None):
        content = {name.removeprefix(prefix): value for name, value in content.items()}
    return dict(content)


def _refuse_hollow(content: Mapping[str, Tensor], source: str) -> None:
    """A tensor can repeat a few numbers without an end (stride 0): looking at them all would fill the memory."""
    for name, value in content.items():
        if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{source} holds {name} as {tuple(value.shape)} without as many numbers; {_ADVICE}")


_ADVICE = "save model.state_dict() alone, with torch.save or safetensors.torch.save_file"


def _refuse_packed(path: Path) -> None:
    """torch.save compresses nothing, so that a file which unpacks to more than itself was made to fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} cannot be read as weights ({_brief(error)}); copy it again") from error
    if unpacked > path.stat().st_size:
        raise CheckpointError(f"{path} unpacks to {unpacked:,} bytes, which torch.save never does; it is refused")


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

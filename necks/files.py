"""Tensors from safetensors files that others wrote, checked against what they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from search_space.files import FileError, read_bytes

SHOWN_NAMES = 8
"""Names that an error lists; a detector has hundreds."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors by name, and give the SHA-256 of the file.

    Raises:
        OSError: if it cannot be written.
    """
    raw = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    path.write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()


def read_tensors(
    path: Path,
    error: type[ValueError] = FileError,
    *,
    like: Mapping[str, Tensor] | None = None,
    digest: str | None = None,
    owner: str = "module",
) -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name, on the CPU.

    Args:
        error: class of the error to raise.
        like: tensors that they must equal in names, shapes and kind of number; those on the meta device will do.
        digest: SHA-256 that the file must have.
        owner: what `like` is of, for the message.

    Raises:
        ValueError: of class `error`, for a file that is missing, damaged, or not as asked for, or whose numbers are not
            all finite.
    """
    raw = read_bytes(path, error)
    try:
        found = load(raw)
    except (SafetensorError, KeyError) as caught:
        reason = f"{type(caught).__name__}: {str(caught).splitlines()[0]}"
        raise error(
            f"{path} cannot be read as weights ({reason:.200}); it may have been cut off: copy it again"
        ) from caught
    if like is not None:
        check_compatibility(str(path), found, like, owner, error)
    if digest is not None and digest != hashlib.sha256(raw).hexdigest():
        raise error(
            f"{path} is not the file that was written with its description: its SHA-256 differs; it was changed or "
            "damaged: copy or export the whole directory again"
        )
    check_finite(str(path), found, error)
    return found


def check_compatibility(
    source: str, found: Mapping[str, Tensor], like: Mapping[str, Tensor], owner: str, error: type[ValueError]
) -> None:
    """
    Args:
        source: what to call `found` in errors.

    Raises:
        ValueError: of class `error`, unless both have the same names, shapes and kinds of numbers; lists what differs.
    """
    both = [name for name in like if name in found]
    problems = {
        "missing": [name for name in like if name not in found],
        "unknown": [name for name in found if name not in like],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(like[name].shape)}"
            for name in both
            if found[name].shape != like[name].shape
        ],
        "of another type": [
            f"{name} {found[name].dtype} for {like[name].dtype}"
            for name in both
            if not _same_kind(found[name], like[name])
        ],
    }
    if any(problems.values()):
        lists = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise error(f"{source} holds the weights of another {owner} ({lists})")


def check_finite(source: str, found: Mapping[str, Tensor], error: type[ValueError]) -> None:
    """
    Raises:
        ValueError: of class `error`, if a number is NaN or infinite; names the tensors.
    """
    wrong = [name for name, value in found.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if wrong:
        raise error(
            f"{source} holds numbers that are not finite in {len(wrong)} tensors ({_some(wrong)}); the training went "
            "wrong or the file is damaged: take other weights"
        )


def _same_kind(one: Tensor, other: Tensor) -> bool:
    """True if both hold floating-point numbers, of whatever precision, or both have the same dtype."""
    return one.dtype == other.dtype or (one.is_floating_point() and other.is_floating_point())


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")

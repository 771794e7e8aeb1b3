"""Necks as plain files: kind and arguments as JSON, weights as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from necks.arguments import check_arguments, class_of, widths_in
from necks.bounds import built
from necks.contract import Neck
from necks.downloads import download, is_url, without_secrets
from necks.files import check_finite, read_tensors, write_tensors
from necks.merge_neck import MergeNeck
from necks.modules import KINDS
from necks.recipe import Recipe
from search_space import Genotype, GenotypeError
from search_space.bounds import shown
from search_space.files import FileError, is_there, read_json
from search_space.references import BadReferenceError, is_reference, reference_of

GENOTYPE_FILE = "genotype.json"
NECK_FILE = "neck.json"
WEIGHTS_FILE = "neck.safetensors"
FORMAT_VERSION = 2
DIGEST = "weights_sha256"
"""Field of `neck.json` with the SHA-256 of the weights' file; files from before it was written lack it."""


class ExportedError(FileError):
    """Error for files that are not an exported neck or do not belong together; it names them and says what to do."""


def neck_to_dict(neck: Neck) -> dict[str, Any]:
    """Kind and constructor arguments of a neck as plain data for JSON, including inner necks, genotypes and recipes.

    Raises:
        ValueError: for a neck of a class that is neither in `KINDS` nor at the top of a module.
    """
    kind = next((name for name, cls in KINDS.items() if type(neck) is cls), None)
    if kind is None:
        try:
            kind = reference_of(type(neck))
        except BadReferenceError as error:
            raise ValueError(
                f"a {type(neck).__name__} cannot be exported; exported are {', '.join(KINDS)}, and classes at the top "
                "of a module"
            ) from error
    return {"kind": kind, **{name: _to_plain(value) for name, value in neck.arguments().items()}}


def neck_from_dict(data: dict[str, Any]) -> Neck:
    """Neck with fresh weights from the data that `neck_to_dict` returned.

    Raises:
        ValueError: for an unknown kind or argument.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a neck is a mapping of its kind and arguments, got {shown(data)}")
    arguments = dict(data)
    kind = arguments.pop("kind", None)
    make = class_of(kind)
    readers = {"genotype": Genotype.from_dict, "recipe": Recipe.from_dict, "neck": neck_from_dict}
    for name in readers.keys() & arguments.keys():
        arguments[name] = readers[name](arguments[name])
    if kind in KINDS:
        check_arguments(make, kind, arguments)
    try:
        return built(lambda: make(**arguments), widths_in(arguments))
    except TypeError as error:
        raise ValueError(
            f"the arguments {shown(sorted(arguments))} do not fit a neck of kind {kind!r}: {error}"
        ) from error


def save_exported(neck: Neck, directory: str | Path) -> None:
    """Write a neck to `neck.json` and `neck.safetensors`, and the topology of merge cells also to `genotype.json`.

    Raises:
        ValueError: for a fused neck, which no arguments can rebuild, and for weights that are not finite.
    """
    if neck.fused:
        raise ValueError("a fused neck cannot be saved; save the neck that it was made from and fuse it after loading")
    check_finite("the neck", neck.state_dict(), ValueError)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(neck, MergeNeck):
        (directory / GENOTYPE_FILE).write_text(neck.genotype.to_json() + "\n", encoding="utf-8")
    digest = write_tensors(directory / WEIGHTS_FILE, neck.state_dict())
    data = {"format": FORMAT_VERSION, **neck_to_dict(neck), DIGEST: digest}
    (directory / NECK_FILE).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def load_exported(place: str | Path) -> Neck:
    """Load a neck that `save_exported` wrote, with its weights, in evaluation mode, on the CPU.

    Files may be links, as in the cache of a model hub. Memory is allocated only after the weights were found.

    Args:
        place: a directory, or a URL of fsspec, such as `hf://USER/MODEL` or `s3://BUCKET/DIRECTORY`, whose files are
            first copied to the user's cache.

    Raises:
        ExportedError: if a file is missing, damaged or of another format version, if the weights belong to another neck
            or are not finite, if `genotype.json` and `neck.json` describe different necks, or if the URL cannot be
            used.
    """
    if isinstance(place, str) and is_url(place):
        return _load(_downloaded(place), without_secrets(place))
    return _load(Path(place), str(place))


def _downloaded(url: str) -> Path:
    try:
        return download(url, (NECK_FILE, WEIGHTS_FILE, GENOTYPE_FILE))
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise ExportedError(
            f"{scheme}:// needs another package, such as s3fs for s3:// and huggingface_hub for hf://"
        ) from error
    except Exception as error:
        reason = type(error).__name__ if url != without_secrets(url) else f"{type(error).__name__}: {error}"
        raise ExportedError(f"{without_secrets(url)} cannot be used ({reason.splitlines()[0]:.300})") from error


def _load(directory: Path, name: str) -> Neck:
    """Args: name: of the place, for messages."""
    missing = [name for name in (NECK_FILE, WEIGHTS_FILE) if not is_there(directory / name)]
    if missing:
        advice = "check the URL and the network, or " if is_url(name) else ""
        raise ExportedError(
            f"{name} is not an exported neck: {', '.join(missing)} missing; {advice}write one with nasfpn export"
        )
    data = _read_neck(directory)
    digest = str(data.pop(DIGEST)) if DIGEST in data else None
    try:
        with torch.device("meta"):
            described = neck_from_dict(data)
    except (ValueError, RuntimeError) as error:
        raise ExportedError(f"{directory / NECK_FILE}: {error}") from error
    if is_there(directory / GENOTYPE_FILE):
        read_genotype(directory)
    weights = read_tensors(
        directory / WEIGHTS_FILE, ExportedError, like=described.state_dict(), digest=digest, owner="neck"
    )
    neck = neck_from_dict(data)
    neck.load_state_dict(weights)
    return neck.eval()


def read_genotype(place: str | Path) -> Genotype:
    """The topology in a genotype's JSON file, or in a directory with `genotype.json`; `neck.json` must agree.

    Raises:
        ExportedError: if there is none, or the two differ.
        GenotypeError: if it cannot be built.
    """
    directory = Path(place) if Path(place).is_dir() else None
    path = Path(place) if directory is None else directory / GENOTYPE_FILE
    try:
        genotype = Genotype.from_dict(read_json(path, ExportedError))
    except GenotypeError as error:
        raise ExportedError(f"{path}: {error}") from error
    if directory is not None and is_there(directory / NECK_FILE):
        described = _read_neck(directory)
        if described.get("genotype") != genotype.to_dict():
            raise ExportedError(
                f"{path} and {NECK_FILE} beside it describe two necks; remove the one that is wrong, or export the "
                "neck again"
            )
    return genotype


def _read_neck(directory: Path) -> dict[str, Any]:
    data = read_json(directory / NECK_FILE, ExportedError)
    if (version := data.pop("format", None)) != FORMAT_VERSION:
        raise ExportedError(
            f"{directory / NECK_FILE} has another format ({shown(version)}); this version reads format {FORMAT_VERSION}"
        )
    return data


def code_in(data: Any) -> list[str]:
    """References to code in a neck's plain data: classes of necks, and merges of genotypes."""
    if isinstance(data, Mapping):
        own = [value for name, value in data.items() if name in ("kind", "merge") and is_reference(value)]
        return list(dict.fromkeys([*own, *(name for value in data.values() for name in code_in(value))]))
    return [name for value in data for name in code_in(value)] if isinstance(data, list | tuple) else []


def _to_plain(value: Any) -> Any:
    if isinstance(value, Neck):
        return neck_to_dict(value)
    if isinstance(value, Genotype | Recipe):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value

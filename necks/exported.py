"""A neck as plain files: topology and arguments as JSON, weights as safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import Genotype

GENOTYPE_FILE = "genotype.json"
NECK_FILE = "neck.json"
WEIGHTS_FILE = "neck.safetensors"
FORMAT_VERSION = 1


def save_exported(neck: MergeNeck, directory: str | Path) -> None:
    """Write `genotype.json`, `neck.json` (the other constructor arguments) and `neck.safetensors`."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    arguments = {
        "format": FORMAT_VERSION,
        "in_channels": list(neck.in_channels),
        "in_levels": list(neck.in_levels),
        "out_channels": neck.out_channels,
        "repeats": neck.repeats,
        "recipe": neck.recipe.to_dict(),
    }
    (directory / GENOTYPE_FILE).write_text(neck.genotype.to_json() + "\n")
    (directory / NECK_FILE).write_text(json.dumps(arguments, indent=2) + "\n")
    weights = {name: value.contiguous() for name, value in neck.state_dict().items()}
    save_file(weights, str(directory / WEIGHTS_FILE))


def load_exported(directory: str | Path) -> MergeNeck:
    """The neck that `save_exported` wrote, with its weights, in evaluation mode, on the CPU.

    Raises:
        ValueError: if a file is missing or was written by another format version.
    """
    directory = Path(directory)
    missing = [name for name in (GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
    if missing:
        raise ValueError(f"{directory} is no exported neck: {', '.join(missing)} missing; write one with nasfpn export")
    arguments = json.loads((directory / NECK_FILE).read_text())
    if arguments.pop("format") != FORMAT_VERSION:
        raise ValueError(f"{directory / NECK_FILE} has another format; this version reads format {FORMAT_VERSION}")
    recipe = Recipe.from_dict(arguments.pop("recipe"))
    genotype = Genotype.from_json((directory / GENOTYPE_FILE).read_text())
    neck = MergeNeck(genotype, recipe=recipe, **arguments)
    neck.load_state_dict(load_file(str(directory / WEIGHTS_FILE)))
    return neck.eval()

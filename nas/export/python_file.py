"""A neck as one Python file that needs torch alone, made to be read.

The generated module has its own names for everything, so its weights are written beside it under those names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas.drawing.text_drawing import text_drawing
from nas.export.errors import ExportError
from nas.export.layers import WIDTH
from nas.export.library import CONSTANTS, called
from nas.export.neck_source import NeckSource
from nas.export.program_source import INDENT, class_source
from necks import MergeNeck, Neck
from search_space.node_names import node_names

PYTHON_FILE = "neck.py"
WEIGHTS_FILE = "weights.pt"
LINE_LENGTH = 120


@dataclass(frozen=True)
class PythonFile:
    """Args: renamed: our module or parameter -> its name in the generated module."""

    text: str
    renamed: dict[str, str]

    def weights(self, neck: Neck) -> dict[str, Tensor]:
        """The neck's state dict under the generated module's names."""
        return {self._name(name): value.detach().cpu().contiguous() for name, value in neck.state_dict().items()}

    def written(self, neck: Neck, path: Path) -> list[Path]:
        """The source and, beside it, the weights, as files."""
        weights = path.with_name(WEIGHTS_FILE)
        path.write_text(self.text)
        torch.save(self.weights(neck), weights)
        return [path, weights]

    def _name(self, ours: str) -> str:
        module, _, tensor = ours.rpartition(".")
        return self.renamed[ours] if ours in self.renamed else f"{self.renamed[module]}.{tensor}"


def write_python(neck: Neck, directory: Path) -> list[Path]:
    """Write `neck.py` and `weights.pt`.

    Raises:
        ExportError: as `python_file`.
    """
    return python_file(neck).written(neck, directory / PYTHON_FILE)


def python_file(neck: Neck) -> PythonFile:
    """A module with a class `Neck` and a function `load_neck`.

    Raises:
        ExportError: for a neck that is no merge graph.
    """
    made = NeckSource(merge_graph(neck, "a Python file"))
    code = joined([*functions(made), *made.pyramids, _neck_class(made), LOADER])
    imports = [
        "from collections import OrderedDict",
        "from collections.abc import Mapping",
        "from pathlib import Path",
        "",
        "import torch",
        *torch_imports(code),
    ]
    maps = ", ".join(f'"{name}": {name}' for name in made.inputs)
    example = [f'    neck = load_neck("{WEIGHTS_FILE}")', f"    pyramid = neck({{{maps}}})"]
    return PythonFile(assembled(docstring(made, example), imports, made, code), made.renamed)


def merge_graph(neck: Neck, what: str) -> MergeNeck:
    """
    Raises:
        ExportError: for a neck that is none, or fused.
    """
    if neck.fused:
        raise ExportError(f"{what} cannot be written of a fused neck; take the neck that it was made from")
    if not isinstance(neck, MergeNeck):
        raise ExportError(
            f"{what} can be written of merge graphs (FPN, PANet, BiFPN, NAS-FPN, whatever a search finds), not of a "
            f"{type(neck).__name__}; take another format: onnx or pt2"
        )
    return neck


def torch_imports(code: str) -> list[str]:
    return [*(["import torch.nn.functional as F"] if "F." in code else []), "from torch import Tensor, nn"]


def joined(blocks: Sequence[Sequence[str]]) -> str:
    """Classes and functions as text."""
    return "\n\n\n".join("\n".join(block) for block in blocks)


def assembled(head: Sequence[str], imports: Sequence[str], made: NeckSource, code: str) -> str:
    """The whole file."""
    constants = [f"{WIDTH} = {made.neck.out_channels}"]
    constants += [line for name, lines in CONSTANTS.items() if name in code for line in lines]
    return joined([[*head, "", *imports, "", *constants], [code]]) + "\n"


def functions(made: NeckSource) -> list[list[str]]:
    """Those that build blocks, then those that compute."""
    order = ["lateral", "conv_block", "linear_block", "strided_block", "extra_block"]
    built = [made.blocks[name].function(name) for name in order if name in made.blocks]
    return built + called([*made.steps, *(line for pyramid in made.pyramids for line in pyramid)])


def docstring(made: NeckSource, example: Sequence[str]) -> list[str]:
    neck = made.neck
    names = node_names(neck.genotype)
    times = f"{neck.repeats} x " if neck.repeats > 1 else ""
    cells = len(names) - len(neck.genotype.levels)
    widths = ", ".join(map(str, neck.in_channels))
    lines = [
        f'"""A feature-pyramid neck: {times}{cells} merge cells over P{neck.out_levels[0]}..P{neck.out_levels[-1]}, '
        f"{neck.out_channels} channels.",
        "",
        f"Takes {', '.join(made.inputs)} (stride 2^level; {widths} channels; fine to coarse), gives "
        f"{', '.join(made.outputs)}.",
        "Images of any size.",
        "",
        *example,
    ]
    if cells:
        lines += ["", "Cells from left to right over what they merge; [in brackets] if convolved:", ""]
        lines += [f"    {line}".rstrip() for line in text_drawing(neck.genotype, names)]
    return [*lines, '"""']


def _neck_class(made: NeckSource) -> list[str]:
    outputs = [f"{output}={output}" for output in made.outputs]
    opening = f"{INDENT}return OrderedDict("
    returned = [f"{opening}{', '.join(outputs)})"]
    if len(returned[0]) > LINE_LENGTH:
        returned = [opening, *(f"{INDENT}    {each}," for each in outputs), f"{INDENT})"]
    return class_source(
        "Neck(nn.Module)",
        "Backbone maps in, ordered dict of maps out, both from fine to coarse.",
        [f"{INDENT}self.out_channels = {WIDTH}", *made.members.lines],
        "forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]",
        [f"{INDENT}{unpacked(made.inputs)} = features.values()", *made.steps, *returned],
    )


def unpacked(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


LOADER = [
    "def load_neck(weights: str | Path) -> Neck:",
    f'    """With weights from a file, such as the `{WEIGHTS_FILE}` beside this one; in evaluation mode."""',
    "    neck = Neck()",
    '    neck.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))',
    "    return neck.eval()",
]

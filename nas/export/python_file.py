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
from nas.export.program_source import INDENT
from nas.export.source import listed
from necks import MergeNeck, Neck
from search_space.node_names import node_names

PYTHON_FILE = "neck.py"
WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True)
class PythonFile:
    """Args: renamed: our module or parameter -> its name in the generated module."""

    text: str
    renamed: dict[str, str]

    def weights(self, neck: Neck) -> dict[str, Tensor]:
        """The neck's state dict under the generated module's names."""
        return {self._name(name): value.detach().cpu().contiguous() for name, value in neck.state_dict().items()}

    def _name(self, ours: str) -> str:
        module, _, tensor = ours.rpartition(".")
        return self.renamed[ours] if ours in self.renamed else f"{self.renamed[module]}.{tensor}"


def write_python(neck: Neck, directory: Path) -> list[Path]:
    """Write `neck.py` and `weights.pt`.

    Raises:
        ExportError: as `python_file`.
    """
    file = python_file(neck)
    source, weights = directory / PYTHON_FILE, directory / WEIGHTS_FILE
    source.write_text(file.text)
    torch.save(file.weights(neck), weights)
    return [source, weights]


def python_file(neck: Neck) -> PythonFile:
    """A module with a class `Neck` and a function `load_neck`.

    Raises:
        ExportError: for a neck that is no merge graph.
    """
    made = NeckSource(merge_graph(neck, "a Python file"))
    name = "Neck"
    blocks = [*functions(made), *made.pyramids, _neck_class(made, name), _loader(name)]
    imports = [
        "from collections import OrderedDict",
        "from collections.abc import Mapping",
        "from pathlib import Path",
        "",
        "import torch",
        *torch_imports(blocks),
    ]
    maps = ", ".join(f'"{name}": {name}' for name in made.inputs)
    example = [f'    neck = load_neck("{WEIGHTS_FILE}")', f"    pyramid = neck({{{maps}}})"]
    return PythonFile(assembled(docstring(made, example), imports, made, blocks), made.renamed)


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


def torch_imports(blocks: Sequence[Sequence[str]]) -> list[str]:
    text = "\n".join(line for block in blocks for line in block)
    functional = ["import torch.nn.functional as F"] if "F." in text else []
    return [*functional, "from torch import Tensor, nn"]


def assembled(head: Sequence[str], imports: Sequence[str], made: NeckSource, blocks: Sequence[Sequence[str]]) -> str:
    """The whole file."""
    constants = [f"{WIDTH} = {made.neck.out_channels}"]
    text = "\n".join(line for block in blocks for line in block)
    constants += [line for name, lines in CONSTANTS.items() if name in text for line in lines]
    parts = [[*head, "", *imports, "", *constants], *blocks]
    return "\n\n\n".join("\n".join(part) for part in parts) + "\n"


def functions(made: NeckSource) -> list[list[str]]:
    """Those that build blocks, then those that compute."""
    order = ["lateral", "conv_block", "linear_block", "strided_block", "extra_block"]
    built = [made.shared.blocks[name].function(name) for name in order if name in made.shared.blocks]
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


def _neck_class(made: NeckSource, name: str) -> list[str]:
    outputs = [f"{output}={output}" for output in made.outputs]
    return [
        f"class {name}(nn.Module):",
        '    """Backbone maps in, ordered dict of maps out, both from fine to coarse."""',
        "",
        "    def __init__(self) -> None:",
        f"{INDENT}super().__init__()",
        f"{INDENT}self.out_channels = {WIDTH}",
        *made.members.lines,
        "",
        "    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:",
        f"{INDENT}{unpacked(made.inputs)} = features.values()",
        *made.steps,
        *listed("return OrderedDict(", outputs, ")", 8),
    ]


def unpacked(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


def _loader(name: str) -> list[str]:
    return [
        f"def load_neck(weights: str | Path) -> {name}:",
        f'    """With weights from a file, such as the `{WEIGHTS_FILE}` beside this one; in evaluation mode."""',
        f"    neck = {name}()",
        '    neck.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))',
        "    return neck.eval()",
    ]

"""A neck as a file that registers it with mmdetection; weights under its own names for the necks that it has."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.export.layers import WIDTH
from nas.export.neck_source import NeckSource
from nas.export.program_source import INDENT
from nas.export.python_file import (
    WEIGHTS_FILE,
    PythonFile,
    assembled,
    docstring,
    functions,
    merge_graph,
    torch_imports,
    unpacked,
)
from necks import Neck
from necks.reference import WeightsError, reference_state

MMDET_FILE = "mmdet_neck.py"
MMDET_WEIGHTS_FILE = "mmdet_weights.pt"
CLASS = "FoundNeck"


def write_mmdet(neck: Neck, directory: Path, unfolded: Neck | None = None) -> list[Path]:
    """Write `mmdet_neck.py` and `weights.pt`, and for a neck that mmdetection has (`nas_fpn@mmdet` and the like)
    `mmdet_weights.pt`, which its own class loads.

    Args:
        unfolded: the neck with its batch norms, which mmdetection's own class has; default: `neck`.

    Raises:
        ExportError: for a neck that is no merge graph.
    """
    file = mmdet_file(neck)
    source, weights = directory / MMDET_FILE, directory / WEIGHTS_FILE
    source.write_text(file.text)
    torch.save(file.weights(neck), weights)
    try:
        own = reference_state(unfolded or neck, "mmdet")
    except WeightsError:
        return [source, weights]
    torch.save(own, directory / MMDET_WEIGHTS_FILE)
    return [source, weights, directory / MMDET_WEIGHTS_FILE]


def mmdet_file(neck: Neck) -> PythonFile:
    """A module with a class `FoundNeck` in mmdetection's registry; its weights are those of the Python file.

    Raises:
        ExportError: for a neck that is no merge graph.
    """
    made = NeckSource(merge_graph(neck, "an mmdetection neck"))
    blocks = [*functions(made), *made.pyramids, _neck_class(made)]
    tensors = torch_imports(blocks)
    used = "\n".join(line for block in blocks for line in block)
    imports = [
        "from collections.abc import Sequence",
        "",
        *(["import torch"] if "torch." in used else []),
        *tensors[:-1],
        "from mmdet.registry import MODELS",
        "from mmengine.model import BaseModule",
        tensors[-1],
    ]
    example = [
        '    custom_imports = dict(imports=["mmdet_neck"])',
        "    model = dict(",
        f'        neck=dict(type="{CLASS}", init_cfg=dict(type="Pretrained", checkpoint="{WEIGHTS_FILE}")),',
        "        ...,",
        "    )",
    ]
    return PythonFile(assembled(docstring(made, example), imports, made, blocks), made.renamed)


def _neck_class(made: NeckSource) -> list[str]:
    count = len(made.inputs)
    return [
        "@MODELS.register_module()",
        f"class {CLASS}(BaseModule):",
        f'    """Maps in, maps out, both from fine to coarse; of more than {count} maps the last {count} are taken."""',
        "",
        "    def __init__(self, init_cfg: dict | None = None) -> None:",
        f"{INDENT}super().__init__(init_cfg)",
        f"{INDENT}self.out_channels = {WIDTH}",
        *made.members.lines,
        "",
        "    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:",
        f"{INDENT}{unpacked(made.inputs)} = inputs[-{count}:]",
        *made.steps,
        f"{INDENT}return {', '.join(made.outputs)}" + ("," if len(made.outputs) == 1 else ""),
    ]

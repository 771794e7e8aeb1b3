"""A neck as a file that registers it with mmdetection; weights under its own names for the necks that it has."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.export.layers import WIDTH
from nas.export.neck_source import NeckSource
from nas.export.program_source import INDENT, class_source, tupled
from nas.export.python_file import (
    WEIGHTS_FILE,
    PythonFile,
    assembled,
    docstring,
    functions,
    joined,
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
    written = mmdet_file(neck).written(neck, directory / MMDET_FILE)
    try:
        own = reference_state(unfolded or neck, "mmdet")
    except WeightsError:
        return written
    torch.save(own, directory / MMDET_WEIGHTS_FILE)
    return [*written, directory / MMDET_WEIGHTS_FILE]


def mmdet_file(neck: Neck) -> PythonFile:
    """A module with a class `FoundNeck` in mmdetection's registry; its weights are those of the Python file.

    Raises:
        ExportError: for a neck that is no merge graph.
    """
    made = NeckSource(merge_graph(neck, "an mmdetection neck"))
    code = joined([*functions(made), *made.pyramids, _neck_class(made)])
    tensors = torch_imports(code)
    imports = [
        "from collections.abc import Sequence",
        "",
        *(["import torch"] if "torch." in code else []),
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
    return PythonFile(assembled(docstring(made, example), imports, made, code), made.renamed)


def _neck_class(made: NeckSource) -> list[str]:
    count = len(made.inputs)
    source = class_source(
        f"{CLASS}(BaseModule)",
        f"Maps in, maps out, both from fine to coarse; of more than {count} maps the last {count} are taken.",
        [f"{INDENT}self.out_channels = {WIDTH}", *made.members.lines],
        "forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]",
        [
            f"{INDENT}{unpacked(made.inputs)} = inputs[-{count}:]",
            *made.steps,
            f"{INDENT}return {tupled(made.outputs)}",
        ],
        init=("self, init_cfg: dict | None = None", "init_cfg"),
    )
    return ["@MODELS.register_module()", *source]

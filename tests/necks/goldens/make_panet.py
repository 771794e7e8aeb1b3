"""Outputs of PANet's bottom-up path in its authors' code, plain and with GroupNorm: `panet*.npz` and their `.json`.

The authors' class `fpn` runs with `panet_buttomup=True` over four given maps in place of a ResNet, in evaluation mode
and float64 (stored as float32). P6 is their max-pool. Weights and maps come from `reference_weights`, weights by the
authors' own names. Outputs are stored as `{height}x{width}_p{level}`, (N, C / stride, H, W), fine to coarse.

Takes the path of `FPN.py` or of a checkout that has it at `lib/modeling/FPN.py`; no other file is read:

    python tests/necks/goldens/make_panet.py PATH
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.support.reference_weights import pyramid_sizes, random_maps, random_state  # noqa: E402

FILE = "lib/modeling/FPN.py"
GROUPS = 32
ABOUT: dict[str, Any] = {
    "made_by": "python tests/necks/goldens/make_panet.py PATH",
    "source": "fpn(panet_buttomup=True), evaluation mode, CPU, float64; stored as float32",
    "repository": "ShuLiu1993/PANet",
    "commit": "5154dd54d8fd1789a8bb113477563982a449350e",
    "files": {FILE: "imports, fpn (less detectron_weight_mapping), topdown_lateral_module, get_min_max_levels"},
    "in_levels": [2, 3, 4, 5],
    "in_channels": [16, 24, 32, 40],
    "out_levels": [2, 3, 4, 5, 6],
    "out_channels": 64,
    "sizes": [[128, 128], [192, 64]],
    "batch": 2,
    "state_seed": 0,
    "maps_seed": 1,
    "channel_stride": 7,
}


class GivenMaps(nn.Module):
    """Stands in for the ResNet: its stages hand over C2..C5 of the mapping that the first of them got."""

    def __init__(self) -> None:
        super().__init__()
        self.convX = len(ABOUT["in_levels"]) + 1

    def res1(self, maps: Mapping[str, Tensor]) -> None:
        self.left = iter(maps.values())

    def _next(self, _: Tensor | None) -> Tensor:
        return next(self.left)

    res2 = res3 = res4 = res5 = _next


def main(path: str) -> None:
    config = configuration()
    authors = imported(Path(path), config)
    for group_norm in (False, True):
        config.FPN.USE_GN = group_norm
        neck = authors.fpn(GivenMaps, level_info(), panet_buttomup=True)
        shapes = {name: list(value.shape) for name, value in neck.state_dict().items()}
        neck.load_state_dict(random_state(shapes, ABOUT["state_seed"]))
        stem = HERE / f"panet{'_gn' if group_norm else ''}"
        np.savez_compressed(stem.with_suffix(".npz"), **outputs(neck.double().eval()))
        about = {**ABOUT, "group_norm": group_norm, "norm_groups": GROUPS if group_norm else None}
        stem.with_suffix(".json").write_text(as_json({**about, "versions": {"torch": torch.__version__}}, shapes))


def outputs(neck: nn.Module) -> dict[str, np.ndarray]:
    found = {}
    for height, width in ABOUT["sizes"]:
        sizes = pyramid_sizes((height, width), ABOUT["in_levels"])
        maps = random_maps(ABOUT["in_channels"], sizes, ABOUT["maps_seed"], ABOUT["batch"])
        with torch.no_grad():
            coarse_first = neck({name: x.double() for name, x in maps.items()})
        for level, x in zip(ABOUT["out_levels"], reversed(coarse_first), strict=True):
            found[f"{height}x{width}_p{level}"] = x[:, :: ABOUT["channel_stride"]].float().numpy()
    return found


def level_info() -> SimpleNamespace:
    """What the class wants to know of the backbone, coarse to fine."""
    levels: Sequence[int] = ABOUT["in_levels"][::-1]
    return SimpleNamespace(
        blobs=tuple(f"res{level}" for level in levels),
        dims=tuple(ABOUT["in_channels"][::-1]),
        spatial_scales=tuple(2.0**-level for level in levels),
    )


def configuration() -> SimpleNamespace:
    """The settings that the class reads; RoIs up to P5 and the RPN up to P6 are what makes it give a P6."""
    pyramid = SimpleNamespace(
        DIM=ABOUT["out_channels"],
        USE_GN=False,
        EXTRA_CONV_LEVELS=False,
        ZERO_INIT_LATERAL=False,
        MULTILEVEL_RPN=True,
        MULTILEVEL_ROIS=True,
        RPN_MIN_LEVEL=2,
        RPN_MAX_LEVEL=6,
        ROI_MIN_LEVEL=2,
        ROI_MAX_LEVEL=5,
    )
    return SimpleNamespace(FPN=pyramid, GROUP_NORM=SimpleNamespace(EPSILON=1e-5))


def imported(path: Path, config: SimpleNamespace) -> Any:
    """The authors' module, with empty modules for its imports but for what the class calls when built."""
    stand_in("core.config", cfg=config)
    stand_in("utils.net", get_group_gn=lambda channels: GROUPS)
    stand_in("nn", init=SimpleNamespace(XavierFill=lambda weight: None))
    stand_in("modeling.ResNet")
    stand_in("modeling.generate_anchors", generate_anchors=None)
    stand_in("modeling.generate_proposals", GenerateProposalsOp=None)
    distribute = "CollectAndDistributeFpnRpnProposalsOp"
    stand_in("modeling.collect_and_distribute_fpn_rpn_proposals", **{distribute: None})
    spec = importlib.util.spec_from_file_location("panet_fpn", path if path.is_file() else path / FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in(name: str, **contents: Any) -> None:
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(contents)
    package, _, leaf = name.rpartition(".")
    if package:
        setattr(sys.modules.setdefault(package, ModuleType(package)), leaf, module)


def as_json(about: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> str:
    """Indented, but with one line per variable."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in about.items()]
    rows = [f"    {json.dumps(name)}: {json.dumps(shape)}" for name, shape in shapes.items()]
    return "\n".join(["{", *lines, '  "shapes": {', ",\n".join(rows), "  }", "}", ""])


if __name__ == "__main__":
    main(sys.argv[1])

"""Outputs of the authors' ASFF and ASFFmobile at all three levels: `asff.npz` and, beside it, `asff.json`.

The authors' classes run in evaluation mode and float64 (stored as float32), under the names that their YOLOv3 gives
them, `level_{0,1,2}_fusion`. Weights and maps come from `reference_weights`; levels and maps below are fine to coarse,
theirs count from the coarsest. Outputs are stored as `{case}_p{level}`, strided in channels.

Takes the path of a checkout of which only `models/network_blocks.py` is read:

    python tests/necks/goldens/make_asff.py PATH
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.support.reference_weights import random_maps, random_state  # noqa: E402

YOLOV3, MOBILE = [256, 256, 512], [128, 256, 512]
ABOUT: dict[str, Any] = {
    "made_by": "python tests/necks/goldens/make_asff.py PATH",
    "source": "ASFF and ASFFmobile, evaluation mode, CPU, float64; stored as float32",
    "repository": "ruinmessi/ASFF, now GOATmessi8/ASFF",
    "commits": {
        "models/network_blocks.py: add_conv, ASFF, ASFFmobile": "09f558863ae297663ec476f52a90c0cf6881415e",
        "facts and parameter counts compared with": "0ff0e339",
    },
    "levels": [3, 4, 5],
    "expanded": [256, 512, 1024],
    "batch": 1,
    "state_seed": 0,
    "maps_seed": 1,
    "channel_stride": 13,
    "cases": {
        "yolov3": {"kind": "ASFF", "rfb": False, "in_channels": YOLOV3, "sizes": [[16, 20], [8, 10], [4, 5]]},
        "rfb": {"kind": "ASFF", "rfb": True, "in_channels": YOLOV3, "sizes": [[16, 12], [8, 6], [4, 3]]},
        "mobile": {"kind": "ASFFmobile", "rfb": False, "in_channels": MOBILE, "sizes": [[16, 20], [8, 10], [4, 5]]},
    },
}


def main(checkout: str) -> None:
    blocks = imported(checkout)
    outputs: dict[str, np.ndarray] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for case, about in ABOUT["cases"].items():
        kind = getattr(blocks, about["kind"])
        net = nn.ModuleDict({f"level_{level}_fusion": kind(level, rfb=about["rfb"]) for level in range(3)})
        shapes[case] = {name: list(value.shape) for name, value in net.state_dict().items()}
        net.load_state_dict(random_state(shapes[case], ABOUT["state_seed"]))
        net.double().eval()
        sizes = [(h, w) for h, w in about["sizes"]]
        maps = random_maps(about["in_channels"], sizes, ABOUT["maps_seed"], ABOUT["batch"])
        coarse_first = [x.double() for x in reversed(maps.values())]
        with torch.no_grad():
            pyramid = [fusion(*coarse_first) for fusion in net.values()]
        for level, x in zip(reversed(ABOUT["levels"]), pyramid, strict=True):
            outputs[f"{case}_p{level}"] = x[:, :: ABOUT["channel_stride"]].float().numpy()
    np.savez_compressed(HERE / "asff.npz", **outputs)
    (HERE / "asff.json").write_text(as_json({**ABOUT, "versions": {"torch": torch.__version__}}, shapes))


def imported(checkout: str) -> Any:
    """The authors' module; the deformable convolution that it imports is compiled and not needed."""
    name = "utils.DCN.modules.deform_conv2d"
    for index in range(len(name.split("."))):
        package = ".".join(name.split(".")[: index + 1])
        sys.modules[package] = ModuleType(package)
    sys.modules[name].DeformConv2d = None  # type: ignore[attr-defined]
    sys.path.insert(0, checkout)
    return importlib.import_module("models.network_blocks")


def as_json(about: dict[str, Any], shapes: dict[str, dict[str, list[int]]]) -> str:
    """Indented, but with one line per variable."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in about.items()]
    cases = []
    for case, named in shapes.items():
        rows = ",\n".join(f"      {json.dumps(name)}: {json.dumps(shape)}" for name, shape in named.items())
        cases.append(f"    {json.dumps(case)}: {{\n{rows}\n    }}")
    return "\n".join(["{", *lines, '  "shapes": {', ",\n".join(cases), "  }", "}", ""])


if __name__ == "__main__":
    main(sys.argv[1])

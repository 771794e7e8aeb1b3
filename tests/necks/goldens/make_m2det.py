"""Outputs of the neck inside the authors' M2Det: `m2det.npz` and, beside it, `m2det.json`.

The authors' own `M2Det.forward` runs, in evaluation mode and float64 (stored as float32). Only what is not the neck is
exchanged: the backbone by modules that give the two maps, and the heads by modules that keep what reaches them. Weights
and maps come from `reference_weights`; copies of a module that the lists share have the values of copy 0.

Cases: `released`, at full width with SFAM, and three at a quarter of all widths: `plain` (without SFAM, as the released
configurations), `sfam`, and `unshared`, where every entry of the authors' lists was made a module of its own. The
authors' constructor fixes the widths before the TUMs; there the narrow cases put their own `BasicConv` and BatchNorm.
Outputs are stored as `{case}_p{level}`, strided in channels and pixels.

Takes the path of a checkout of which only `m2det.py` and `layers/nn_utils.py` are read:

    python tests/necks/goldens/make_m2det.py PATH
"""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.support.reference_weights import random_maps, random_state  # noqa: E402

RELEASED = {"in_channels": [512, 1024], "out_channels": 2048}
NARROW = {"in_channels": [128, 256], "out_channels": 512}
ABOUT: dict[str, Any] = {
    "made_by": "python tests/necks/goldens/make_m2det.py PATH",
    "source": "M2Det.forward, evaluation mode, CPU, float64; stored as float32",
    "repository": "qijiezhao/M2Det, now VDIGPKU/M2Det",
    "commits": {
        "m2det.py, up to the end of forward": "2343f4b4fba62a1c3176d478184bd7cea9039b8c",
        "layers/nn_utils.py": "ade4f3d12979800c367bf1e46d2e316e73a87514",
        "facts and parameter counts compared with": "de4a6241",
    },
    "in_levels": [3, 4],
    "out_levels": [3, 4, 5, 6, 7, 8],
    "tums": 8,
    "batch": 1,
    "state_seed": 0,
    "maps_seed": 1,
    "pixel_stride": 3,
    "shared": ["leach", "sfam_module.fc1", "sfam_module.fc2"],
    "cases": {
        "released": {**RELEASED, "sfam": True, "shared": True, "sizes": [[40, 40], [20, 20]], "channel_stride": 61},
        "plain": {**NARROW, "sfam": False, "shared": True, "sizes": [[40, 64], [20, 32]], "channel_stride": 11},
        "sfam": {**NARROW, "sfam": True, "shared": True, "sizes": [[40, 40], [20, 20]], "channel_stride": 11},
        "unshared": {**NARROW, "sfam": True, "shared": False, "sizes": [[40, 40], [20, 20]], "channel_stride": 11},
    },
}


class Given(nn.Module):
    """Gives a map instead of computing it."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, _: Tensor) -> Tensor:
        return self.x


class Tap(nn.Module):
    """Keeps the last map that went through it."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x


def main(checkout: str) -> None:
    m2det = imported(checkout)
    outputs: dict[str, np.ndarray] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for case, about in ABOUT["cases"].items():
        net = build(m2det, about)
        if about["sfam"] and about["shared"]:
            shapes[case] = {name: list(value.shape) for name, value in net.state_dict().items()}
        fill(net, shared=about["shared"])
        net.double().eval()
        with torch.no_grad():
            net(torch.zeros(1))
        step = ABOUT["pixel_stride"]
        for level, tap in zip(ABOUT["out_levels"], net.loc, strict=True):
            outputs[f"{case}_p{level}"] = tap.x[:, :: about["channel_stride"], ::step, ::step].float().numpy()
    np.savez_compressed(HERE / "m2det.npz", **outputs)
    (HERE / "m2det.json").write_text(as_json({**ABOUT, "versions": {"torch": torch.__version__}}, shapes))


def imported(checkout: str) -> Any:
    """The authors' class; what its modules import beside the neck (other backbones, printing) is not needed."""
    for name in ("layers.senet", "layers.resnet", "utils", "utils.core"):
        sys.modules[name] = ModuleType(name)
    sys.modules["utils.core"].print_info = lambda *_: None  # type: ignore[attr-defined]
    sys.path.insert(0, checkout)
    from m2det import M2Det

    return M2Det


def build(m2det: Any, about: dict[str, Any]) -> Any:
    width = about["out_channels"] // ABOUT["tums"]
    config = {"backbone": "vgg16", "net_family": "vgg", "base_out": (0, 1), "num_classes": 2, "smooth": True}
    config |= {"planes": width, "num_levels": ABOUT["tums"], "num_scales": len(ABOUT["out_levels"])}
    net = m2det("train", 320, {**config, "sfam": about["sfam"]})
    if about["out_channels"] != net.Norm.num_features:
        narrow(net, about["in_channels"], width)
    maps = random_maps(about["in_channels"], about["sizes"], ABOUT["maps_seed"], ABOUT["batch"])
    net.base = nn.ModuleList(Given(x.double()) for x in maps.values())
    net.loc, net.conf = (nn.ModuleList(Tap() for _ in ABOUT["out_levels"]) for _ in range(2))
    if not about["shared"]:
        for modules in (net.leach, net.sfam_module.fc1, net.sfam_module.fc2):
            for index, module in enumerate(modules):
                modules[index] = copy.deepcopy(module)
    return net


def narrow(net: Any, in_channels: list[int], width: int) -> None:
    unit = type(net.reduce)
    shallow, deep = in_channels
    net.reduce = unit(shallow, width, kernel_size=3, stride=1, padding=1)
    net.up_reduce = unit(deep, 2 * width, kernel_size=1, stride=1)
    net.leach = nn.ModuleList([unit(3 * width, width // 2, kernel_size=1, stride=1)] * ABOUT["tums"])
    net.Norm = nn.BatchNorm2d(width * ABOUT["tums"])


def fill(net: nn.Module, *, shared: bool) -> None:
    state = random_state({name: tuple(value.shape) for name, value in net.state_dict().items()}, ABOUT["state_seed"])
    copies = re.compile(rf"^({'|'.join(map(re.escape, ABOUT['shared']))})\.\d+")
    if shared:
        state = {name: state[copies.sub(r"\1.0", name)] for name in state}
    net.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()), "no other modules shared"


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

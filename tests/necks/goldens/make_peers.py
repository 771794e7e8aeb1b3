"""Outputs of mmdetection's and effdet's necks: `mmdet.npz`, `effdet.npz` and their `.json`.

The cases are those of `peer_cases.py`, in evaluation mode and float64 (stored as float32). Weights and maps come from
`reference_weights`, weights by the peers' own names. Needs the extra `bench`:

    pip install -e '.[dev,bench]' && python tests/necks/goldens/make_peers.py
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.support.peer_cases import CASES, peer_outputs, peer_state, sampled  # noqa: E402

PACKAGES = {"mmdet": ("mmdet", "mmcv-lite", "mmengine"), "effdet": ("effdet", "timm")}
CHANNEL_STRIDE, PIXEL_STRIDE = 5, 3
STATE_SEED, MAPS_SEED, BATCH = 0, 1, 1


def main() -> None:
    for source, packages in PACKAGES.items():
        about: dict[str, Any] = {
            "made_by": "python tests/necks/goldens/make_peers.py",
            "source": "evaluation mode, CPU, float64; stored as float32",
            "versions": {name: version(name) for name in ("torch", *packages)},
            "state_seed": STATE_SEED,
            "maps_seed": MAPS_SEED,
            "batch": BATCH,
            "channel_stride": CHANNEL_STRIDE,
            "pixel_stride": PIXEL_STRIDE,
            "shapes": {},
        }
        arrays: dict[str, np.ndarray] = {}
        for name, case in CASES.items():
            if case.source != source:
                continue
            for size in case.sizes:
                peer = case.peer(size)
                state = peer_state(peer, STATE_SEED)
                about["shapes"][name] = {key: list(value.shape) for key, value in state.items()}
                outputs = peer_outputs(case, peer, state, size, MAPS_SEED, BATCH, torch.float64)
                for index, x in enumerate(outputs):
                    arrays[f"{name}_{size[0]}x{size[1]}_{index}"] = (
                        sampled(x, CHANNEL_STRIDE, PIXEL_STRIDE).float().numpy()
                    )
        np.savez_compressed(HERE / f"{source}.npz", **arrays)
        (HERE / f"{source}.json").write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()

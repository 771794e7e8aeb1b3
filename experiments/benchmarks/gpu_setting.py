"""Settings of the GPU day that its parts share."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from experiments.signs import search
from nas.atomic_write import atomic_write
from nas.configuration import override
from nas.data.config import SignsConfig
from nas.search.config import SearchConfig, data_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Day:
    """Settings of the day, the same for all parts.

    Args:
        seconds: that the part has.
    """

    out: Path
    seconds: float
    dry: bool
    assignments: tuple[str, ...]

    @property
    def gpu(self) -> bool:
        return torch.cuda.is_available() and not self.dry

    def config(self) -> SearchConfig:
        """The default search; tiny and on the CPU in a dry run."""
        config = override(search(), self.assignments)
        if not self.dry:
            return config
        backbone = replace(config.proxy.backbone, name="resnet10", weights="none")
        proxy = replace(
            config.proxy, backbone=backbone, image_size=64, steps=4, warm_steps=0, precision="fp32", device="cpu"
        )
        data = replace(data_of(config), root=str(self.out / "signs"), embedded=SignsConfig(train=24, reward=8, test=2))
        return replace(config, proxy=proxy, data=data)

    def write(self, part: str, markdown: str, **data: Any) -> None:
        atomic_write(self.out / f"{part}.json", json.dumps({**data, "markdown": markdown}, indent=1) + "\n")

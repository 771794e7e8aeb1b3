"""A small real COCO-format data set on disk, to be broken in many ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data.config import DataConfig, SignsConfig, SplitConfig
from nas.data.signs import make_signs

TINY_SIGNS = SignsConfig(train=12, reward=5, test=4)

Edit = Callable[[dict[str, Any]], None]


class CocoFiles:
    """Writes splits of three images (64 x 48 pixels) with two categories whose ids have gaps."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, edit: Edit | None = None) -> SplitConfig:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        for image in (30, 10, 20):
            file = f"{name}_{image}.png"
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / file)
            content["images"].append({"id": image, "file_name": file, "width": 64, "height": 48})
        content["categories"] = [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}]
        boxes = [(1, 10, 7, [2, 3, 10, 20]), (2, 10, 90, [20, 5, 30, 30]), (3, 20, 90, [0, 0, 64, 48])]
        for key, image, category, bbox in boxes:
            content["annotations"].append(
                {"id": key, "image_id": image, "category_id": category, "bbox": bbox, "area": 1, "iscrowd": 0}
            )
            content["annotations"][-1]["area"] = bbox[2] * bbox[3]
        if edit is not None:
            edit(content)
        path = self.root / "annotations" / f"instances_{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return SplitConfig(annotations=f"annotations/{path.name}", images=name)

    def config(self, **fields: Any) -> DataConfig:
        return DataConfig(root=str(self.root), **fields)

    def all(self) -> DataConfig:
        for name in ("train", "reward", "test"):
            self.write(name)
        return self.config()


@pytest.fixture
def coco_files(tmp_path: Path) -> CocoFiles:
    return CocoFiles(tmp_path / "set")


@pytest.fixture(scope="session")
def signs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded data set, tiny; not to be written to."""
    root = tmp_path_factory.mktemp("data") / "signs"
    make_signs(root, TINY_SIGNS)
    return root

"""Maps of a frozen backbone, computed once for all candidates and kept on disk.

Shapes: N images, C channels, H W of a level.
"""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.utils.data import BatchSampler

from nas.data.coco import digest
from nas.data.letterboxed import Letterboxed
from nas.data.opened_images import CACHE_DIR
from nas.data.read_ahead import read_ahead
from nas.detection.backbone import Backbone, normalise, weights_digest
from nas.detection.device import free_memory, is_accelerator
from nas.errors import UserError

_log = logging.getLogger(__name__)

CPU_BATCH, ACCELERATOR_BATCH = 4, 32
"""Images at once. On a CPU small batches are three times as fast: their buffers stay in the cache and in the allocator.
"""

GPU_SHARE = 0.05
"""Features move into a GPU's memory for good if they take no more than this share of what is free there: eight workers,
each with two splits, may start on it together."""


class FeatureError(UserError):
    """Kept features that cannot be read."""


class FeatureInputs:
    """Maps in half precision, (N, H, W, C), in files that all workers of a machine share the memory of.

    Args:
        directory: holds one file per map, named by it.
        device: where batches will be wanted.
        layout: of the batches.

    Raises:
        FeatureError: if the files are damaged.
    """

    def __init__(self, directory: Path, device: torch.device, layout: torch.memory_format) -> None:
        self.layout = layout
        paths = sorted(directory.glob("*.npy"))
        try:
            self.maps = {path.stem: torch.from_numpy(np.load(path, mmap_mode="c")) for path in paths}
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise FeatureError(f"{directory} is damaged ({error}); delete it, to have it computed again") from error
        if not self.maps:
            raise FeatureError(f"{directory} holds no maps; delete it, to have them computed again")
        if is_accelerator(device) and self._bytes() <= GPU_SHARE * free_memory(device):
            self.maps = {name: x.to(device) for name, x in self.maps.items()}

    def __len__(self) -> int:
        return len(next(iter(self.maps.values())))

    @property
    def device(self) -> torch.device:
        """The device whose memory holds the maps."""
        return next(iter(self.maps.values())).device

    def batches(self, order: Sequence[list[int]], device: torch.device) -> Iterator[OrderedDict[str, Tensor]]:
        """Maps (n, C, H, W) in single precision."""
        return (self._batch(indices, device) for indices in order)

    def _batch(self, indices: list[int], device: torch.device) -> OrderedDict[str, Tensor]:
        maps = self._chosen(torch.tensor(indices).to(self.device))
        return self._prepared({name: x.to(device) for name, x in maps.items()})

    def gather(self, chosen: Tensor) -> OrderedDict[str, Tensor]:
        """A batch where the maps lie, for positions (n,) that lie there, too: nothing waits for the host."""
        return self._prepared(self._chosen(chosen))

    def _chosen(self, chosen: Tensor) -> dict[str, Tensor]:
        return {name: x.index_select(0, chosen) for name, x in self.maps.items()}

    def _prepared(self, maps: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        return OrderedDict(
            (name, x.float().permute(0, 3, 1, 2).contiguous(memory_format=self.layout)) for name, x in maps.items()
        )

    def _bytes(self) -> int:
        return sum(x.nbytes for x in self.maps.values())


_opened: weakref.WeakValueDictionary[tuple[object, ...], FeatureInputs] = weakref.WeakValueDictionary()
"""Features that some task of this process has in use."""


def cached_features(
    images: Letterboxed,
    backbone: Backbone,
    root: Path,
    device: torch.device,
    layout: torch.memory_format = torch.channels_last,
    loaders: int = 0,
) -> FeatureInputs:
    """Features of every image, from the cache under `root`, or computed and kept there for all other workers.

    A directory's name holds everything that its content depends on: annotations, images, their size here, whether they
    follow mirrored, and the backbone's architecture and weights. Two processes at once compute it once; a killed one
    leaves nothing that is read.

    Args:
        loaders: processes that read the images ahead.
    """
    name = f"maps-{digest(images.split)}-{weights_digest(backbone)}-{images.size}-{images.views}"
    path = root / CACHE_DIR / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _log.info(
                "computing the backbone's features of %d images, once; they are kept in %s", len(images), path.parent
            )
            partial = path.with_name(f"{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _extract(images, backbone, device, partial, loaders)
            partial.replace(path)
    identity = path, str(device), layout
    found = _opened.get(identity)
    if found is None:
        found = _opened[identity] = FeatureInputs(path, device, layout)
    return found


def _extract(images: Letterboxed, backbone: Backbone, device: torch.device, directory: Path, loaders: int) -> None:
    """Write one file per map. Uses every CPU core: whoever else needs these features waits for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    backbone = backbone.to(device).to(memory_format=torch.channels_last).eval()
    files: dict[str, np.memmap[Any, np.dtype[np.float16]]] = {}
    size = ACCELERATOR_BATCH if is_accelerator(device) else CPU_BATCH
    order = list(BatchSampler(range(len(images)), size, drop_last=False))
    start = 0
    for batch in read_ahead(images, order, loaders, pinned=device.type == "cuda"):
        with torch.inference_mode():
            maps = backbone(normalise(batch.to(device), backbone).contiguous(memory_format=torch.channels_last))
        for name, x in maps.items():
            last = x.permute(0, 2, 3, 1).half().cpu().numpy()
            if name not in files:
                shape = (len(images), *last.shape[1:])
                files[name] = open_memmap(directory / f"{name}.npy", mode="w+", dtype=np.float16, shape=shape)
            files[name][start : start + len(last)] = last
        start += len(batch)
    torch.set_num_threads(threads)
    for file in files.values():
        file.flush()

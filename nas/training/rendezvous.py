"""The processes of a training on this machine meet in a file, not at a port."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend
from torch import distributed as dist

from nas.workers.private_ray import private_directory


def torch_config() -> TorchConfig:
    """How processes meet: in the directory of the private Ray that is running, or else at a port, as Ray Train does it.

    At a port (`torch.distributed.TCPStore`) the first process listens on all interfaces and asks nobody who they are;
    who writes there can join the training, and the processes send each other pickles.
    """
    directory = private_directory()
    return TorchConfig() if directory is None else FileConfig(directory=str(directory))


@dataclass
class FileConfig(TorchConfig):
    """
    Args:
        directory: that all processes see, on a local file system.
    """

    directory: str = ""

    @property
    def backend_cls(self) -> type[_FileBackend]:
        return _FileBackend


class _FileBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: FileConfig) -> None:
        file = Path(tempfile.mkdtemp(dir=backend_config.directory)) / "processes"
        on_gpu = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        backend = backend_config.backend or ("nccl" if on_gpu else "gloo")
        size = len(worker_group)
        timeout = timedelta(seconds=backend_config.timeout_s)
        ray.get(
            [
                worker_group.execute_single_async(rank, _meet, backend, file.as_uri(), size, rank, timeout)
                for rank in range(size)
            ]
        )


def _meet(backend: str, url: str, size: int, rank: int, timeout: timedelta) -> None:
    """On one machine the rank is the local rank, too."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in ranks.items()})
    dist.init_process_group(backend, init_method=url, world_size=size, rank=rank, timeout=timeout)

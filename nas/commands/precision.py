"""The precision of a command's trainings, decided where the command is given."""

from __future__ import annotations

from dataclasses import replace

from nas.configuration import ConfigError
from nas.engine.task import placed_proxy
from nas.proxy.config import Precision
from nas.search.config import SearchConfig
from nas.terminal import console


def with_precision(config: SearchConfig, before: Precision = "auto") -> SearchConfig:
    """The configuration with `proxy.precision="auto"` replaced by what is faster on this machine.

    Args:
        before: the precision of trainings that were done already, which later ones must share.

    Raises:
        ConfigError: if trainings run on GPUs and this machine has none.
    """
    if config.proxy.precision != "auto" or not config.task.is_proxy:
        return config
    return replace(config, proxy=replace(config.proxy, precision=_faster(config) if before == "auto" else before))


def _faster(config: SearchConfig) -> Precision:
    import torch

    from nas.proxy.precision import decided

    if config.resources.gpus and not torch.cuda.is_available():
        raise ConfigError(
            "proxy.precision=auto is decided on the machine where the command is given, which has no GPU; set "
            "proxy.precision=bf16, or fp32 for GPUs older than 2020"
        )
    precision = decided(placed_proxy(config)).precision
    console.print(f"trainings run in {precision}, the faster of fp32 and bf16 here")
    return precision

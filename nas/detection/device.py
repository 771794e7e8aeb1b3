"""Devices that detectors are computed on: CPUs, and accelerators by the names that PyTorch has for them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from nas.errors import UserError


class DeviceError(UserError):
    """A device that this machine or this build of PyTorch does not have."""


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is the accelerator that this process sees, or else the CPU.

    Raises:
        DeviceError: for an accelerator that is not here.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    device = torch.device(name)
    if not is_accelerator(device):
        return device
    count = torch.accelerator.device_count() if accelerator is not None and accelerator.type == device.type else 0
    if (device.index or 0) >= count:
        here = "the CPU alone" if accelerator is None else f"{torch.accelerator.device_count()} x {accelerator.type}"
        raise DeviceError(f"there is no device {name} here; this machine and its PyTorch have {here}: take auto or cpu")
    return device


def is_accelerator(device: torch.device) -> bool:
    return device.type != "cpu"


def synchronize(device: torch.device) -> None:
    """Wait until all that was started on an accelerator is done; nothing on a CPU."""
    if is_accelerator(device):
        torch.accelerator.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Start a new measurement for `peak_memory`."""
    if counts_memory(device):
        torch.accelerator.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Most bytes that the allocator of an accelerator handed out at once since the reset."""
    return int(torch.accelerator.max_memory_allocated(device))


def counts_memory(device: torch.device) -> bool:
    """True if the allocator counts what it hands out; Apple's does not."""
    return is_accelerator(device) and device.type != "mps"


def free_memory(device: torch.device) -> int:
    """Free bytes on an accelerator; 0 where PyTorch does not say."""
    return int(torch.accelerator.get_memory_info(device)[0]) if counts_memory(device) else 0


def random_state(device: torch.device) -> Tensor | None:
    """State of the accelerator's random generator; None on a CPU, whose state is PyTorch's own."""
    return _module(device).get_rng_state(*_where(device)) if is_accelerator(device) else None


def set_random_state(device: torch.device, state: Tensor | None) -> None:
    """Go on from a state of `random_state`."""
    if is_accelerator(device) and state is not None:
        _module(device).set_rng_state(state.cpu(), *_where(device))


def forked_random_state(device: torch.device) -> AbstractContextManager[None]:
    """A context after which PyTorch's generators, and that of an accelerator, go on as before it."""
    if not is_accelerator(device):
        return torch.random.fork_rng([])
    return torch.random.fork_rng([device.index or 0], device_type=device.type)


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)


def _where(device: torch.device) -> tuple[torch.device, ...]:
    """Apple's module has one device and takes none."""
    return () if device.type == "mps" else (device,)

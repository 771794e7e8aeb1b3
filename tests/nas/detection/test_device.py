"""Names of devices: which are taken, and what is said of one that is not here."""

from __future__ import annotations

import pytest
import torch

from nas.configuration import ConfigError, from_dict
from nas.detection.device import DeviceError, forked_random_state, pick_device, random_state, set_random_state
from nas.proxy.config import ProxyConfig

HERE = torch.accelerator.current_accelerator(check_available=True)


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "xpu", "xpu:0", "mps"])
def test_devices_of_every_maker_are_taken(name):
    assert from_dict(ProxyConfig, {"device": name}).device == name


@pytest.mark.parametrize("name", ["gpu", "cuda:", "tpu", "mps:x", "cpu:0"])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="device"):
        from_dict(ProxyConfig, {"device": name})


def test_auto_is_what_there_is():
    assert pick_device("auto").type == ("cpu" if HERE is None else HERE.type)
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:77", "xpu:77", "mps:77"])
def test_an_accelerator_that_is_not_here_is_one_line(name):
    with pytest.raises(DeviceError, match=f"there is no device {name} here; this machine .*: take"):
        pick_device(name)


def test_the_random_state_of_a_cpu_is_pytorchs_own():
    cpu = torch.device("cpu")
    assert random_state(cpu) is None
    set_random_state(cpu, None)
    torch.manual_seed(0)
    with forked_random_state(cpu):
        torch.rand(1)
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(first, torch.rand(1))

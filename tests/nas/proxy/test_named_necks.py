"""Necks by name under a proxy task."""

from __future__ import annotations

import pytest
from torch import nn

from nas.proxy.candidate import proxy_neck
from nas.proxy.config import NeckConfig
from search_space import known

CONFIG = NeckConfig(channels=16, repeats=2, norm_momentum=0.3)


def built(topology, config=CONFIG):
    return proxy_neck(topology, (8, 16, 32), (3, 4, 5), config)


@pytest.mark.parametrize("topology", [known.bifpn(), "bifpn", "nas_fpn@mmdet", "asff", "efm"])
def test_levels_width_and_momentum_are_the_configurations(topology):
    neck = built(topology)
    assert (neck.out_levels, neck.out_channels) == (CONFIG.levels, 16)
    momenta = {module.momentum for module in neck.modules() if isinstance(module, nn.BatchNorm2d)}
    assert momenta == {0.3}


def test_what_can_be_stacked_is_and_what_cannot_stands_alone():
    def params(name, repeats):
        config = NeckConfig(channels=16, repeats=repeats)
        return sum(parameter.numel() for parameter in built(name, config).parameters())

    assert params("nas_fpn@mmdet", 2) > params("nas_fpn@mmdet", 1)
    assert params("efm", 2) == params("efm", 1)


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="unknown neck 'bifpm'"):
        built("bifpm")

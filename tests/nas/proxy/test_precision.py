"""`precision="auto"`: decided by timed steps, once for a search, and the same ever after."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from experiments.signs import smoke
from nas.commands.precision import with_precision
from nas.configuration import ConfigError
from nas.proxy import precision
from nas.proxy.precision import Timed, decided, timed
from nas.search.resources import ResourceConfig
from tests.support.recorded import TINY

AUTO = replace(TINY, precision="auto")


@pytest.mark.parametrize(("fp32", "bf16", "wanted"), [(2.0, 1.0, "bf16"), (1.0, 2.0, "fp32"), (1.05, 1.0, "fp32")])
def test_bf16_is_taken_where_it_is_clearly_faster(monkeypatch, fp32, bf16, wanted):
    monkeypatch.setattr(precision, "timed", lambda config: Timed(fp32, bf16))
    assert decided(AUTO) == replace(AUTO, precision=wanted)


@pytest.mark.parametrize("chosen", ["fp32", "bf16"])
def test_what_was_chosen_by_the_user_is_not_timed(monkeypatch, chosen):
    monkeypatch.setattr(precision, "timed", lambda config: pytest.fail("timed"))
    assert decided(replace(AUTO, precision=chosen)).precision == chosen


def test_steps_are_really_timed_and_leave_no_trace():
    timed.cache_clear()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    found = timed(AUTO)
    assert min(found.fp32, found.bf16) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert timed(AUTO) is found


def test_a_search_says_what_it_decided_and_keeps_to_it(monkeypatch, capsys):
    config = replace(smoke(), proxy=AUTO)
    monkeypatch.setattr(precision, "timed", lambda config: Timed(2.0, 1.0))
    assert with_precision(config).proxy.precision == "bf16"
    assert "trainings run in bf16, the faster of fp32 and bf16 here" in capsys.readouterr().out
    assert with_precision(config, "fp32").proxy.precision == "fp32", "as the search began on another machine"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to ask")
def test_gpus_of_other_machines_cannot_be_timed():
    config = replace(smoke(), proxy=AUTO, resources=ResourceConfig(gpus=1))
    with pytest.raises(ConfigError, match=r"which has no GPU; set proxy\.precision=bf16"):
        with_precision(config)

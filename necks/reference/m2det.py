"""MLFPN as in the authors' M2Det (`m2det.py` and `layers/nn_utils.py` of qijiezhao/M2Det)."""

from __future__ import annotations

from necks.contract import Neck
from necks.mlfpn import MlfpnNeck
from necks.reference.names import Names, Sources, WeightsError, same_tail


def m2det(neck: Neck) -> Sources:
    """For a neck with two inputs and `valid_top`; see `MlfpnNeck` for the released widths.

    There each TUM is a module of its own, `unet1`.., whose levels count from the coarsest; the lists `leach` and
    `sfam_module.fc1/fc2` name one module several times, which a neck that is not `shared` loads as equal copies.
    A whole detector's dict also has `base.`, `loc.` and `conf.`, which are to be left out.

    Raises:
        WeightsError: for another neck, or one that would compute something else with the same weights.
    """
    if not isinstance(neck, MlfpnNeck) or len(neck.in_channels) != 2 or not neck.valid_top:
        raise WeightsError(
            f"m2det takes an MlfpnNeck with two inputs and valid_top=True, got {type(neck).__name__} with "
            f"{len(neck.in_channels)} inputs and valid_top={getattr(neck, 'valid_top', None)}"
        )
    units: dict[str, Names] = {"reduce": "reduce", "deepen.0": "up_reduce"}
    units |= {f"leach.{index}": names for index, names in _copies("leach", len(neck.leach), len(neck.tums))}
    for index in range(len(neck.tums)):
        units |= _tum(f"tums.{index}", f"unet{index + 1}", len(neck.out_levels))
    others: dict[str, Names] = {"norm": "Norm"}
    for ours, theirs in (("squeeze", "fc1"), ("excite", "fc2")):
        for index, names in _copies(f"sfam_module.{theirs}", len(neck.sfam), len(neck.out_levels)):
            others[f"sfam.{index}.{ours}"] = names
    return same_tail(neck, units, {".0": ".conv", ".1": ".bn"}) | same_tail(neck, others)


def _tum(ours: str, theirs: str, scales: int) -> dict[str, Names]:
    units: dict[str, Names] = {f"{ours}.top": f"{theirs}.toplayer.0"}
    for index in range(scales - 1):
        coarse_first = scales - 2 - index
        units[f"{ours}.encoder.{index}"] = f"{theirs}.layers.{index}"
        units[f"{ours}.lateral.{index}"] = f"{theirs}.latlayer.{coarse_first}"
        units[f"{ours}.smooth.{index}"] = f"{theirs}.smooth.{coarse_first}"
    return units


def _copies(theirs: str, ours: int, count: int) -> list[tuple[int, tuple[str, ...]]]:
    """(index of our module, names of its copies there): one name each, or all names for a shared one."""
    names = [f"{theirs}.{index}" for index in range(count)]
    return [(index, tuple(names) if ours == 1 else (names[index],)) for index in range(ours)]

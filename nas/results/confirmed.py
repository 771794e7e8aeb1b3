"""The confirmed answer of a search, as tables, text and data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.results.labels import neck_name
from nas.search.config import SearchConfig
from nas.search.confirmation import Confirmation, Standing, Verdict
from nas.search.records import Trial
from nas.search.standings import best, best_found, known_necks

HEADINGS = ("neck", "mean", "95 % interval", "trainings", "observed")
"""Columns of `standing_rows`."""


def verdict_of(config: SearchConfig, trials: Sequence[Trial]) -> Verdict | None:
    """None where nothing was confirmed, or not enough yet."""
    return Confirmation(config.confirm, trials).verdict()


def answer(config: SearchConfig, trials: Sequence[Trial]) -> Trial | None:
    """The best new neck: by its confirmation, or as it was observed where nothing was confirmed."""
    verdict = verdict_of(config, trials)
    return best_found(trials) if verdict is None else verdict.best_found.trial


def confirmations(trials: Sequence[Trial], trial: Trial) -> list[Trial]:
    """Scored trainings of a trial's neck in the confirmation."""
    return [again for again in trials if again.state == "complete" and again.candidate.confirms == trial.number]


def best_training(trials: Sequence[Trial], trial: Trial) -> Trial:
    """The training of a trial's neck whose weights are exported: the best of its confirmation, if it has one."""
    return best(confirmations(trials, trial)) or trial


def standing_rows(config: SearchConfig, verdict: Verdict) -> list[tuple[str, ...]]:
    """The contenders, best first; `observed` is the reward that made a contender of them."""
    return [
        (
            neck_name(config, standing.trial),
            config.reward.shown(standing.mean),
            interval(config, standing.low, standing.high),
            str(len(standing.rewards)),
            config.reward.shown(standing.trial.reward or 0.0),
        )
        for standing in verdict.standings
    ]


def table_title(config: SearchConfig, verdict: Verdict) -> str:
    """Title of the table of `standing_rows`."""
    return f"Confirmation: {config.reward.name} of {verdict.trainings} fresh trainings"


def conclusion(config: SearchConfig, verdict: Verdict) -> str:
    """The answer in one sentence, with what it rests on."""
    name, found, known = config.reward.name, verdict.best_found, verdict.best_known
    shown, between = config.reward.shown(verdict.gain, signed=True), (verdict.gain_low, verdict.gain_high)
    gain = f"{shown} {name}, 95 % interval {interval(config, *between)}"
    probability = f"probability {percent(verdict.probability)}"
    neck, other = neck_name(config, found.trial), neck_name(config, known.trial)
    if verdict.is_better:
        return f"{neck} beats the best known neck, {other}: {gain}, {probability}"
    if verdict.probability > 0.5:
        return f"{neck} may beat the best known neck, {other}, but that is not certain: {gain}, {probability}"
    return f"no better neck was found: the best is {other}; {neck} beside it: {gain}, {probability} of being better"


def observation(config: SearchConfig, trials: Sequence[Trial], trial: Trial) -> str:
    """A neck beside the best known one as both were observed, in one sentence; empty where no known neck was scored."""
    known, name = best(known_necks(trials)), config.reward.name
    if known is None or known.reward is None or trial.reward is None:
        return ""
    verb = "beats" if trial.reward > known.reward else "does not beat"
    return f"it {verb} the best known neck, {neck_name(config, known)}, {name} {config.reward.shown(known.reward)}"


def verdict_record(config: SearchConfig, verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data."""
    return {
        "best_found": _record(config, verdict.best_found),
        "best_known": _record(config, verdict.best_known),
        "probability": verdict.probability,
        "gain": verdict.gain,
        "gain_interval": [verdict.gain_low, verdict.gain_high],
        "is_better": verdict.is_better,
        "trainings": verdict.trainings,
        "standings": [_record(config, standing) for standing in verdict.standings],
    }


def percent(probability: float) -> str:
    """A probability as text; one that rests on draws is never said to be 0 or 1."""
    return f"{min(max(probability, 0.001), 0.999):.1%}"


def _record(config: SearchConfig, standing: Standing) -> dict[str, Any]:
    return {
        "neck": neck_name(config, standing.trial),
        "trial": standing.trial.number,
        "mean": standing.mean,
        "interval": [standing.low, standing.high],
        "rewards": list(standing.rewards),
        "observed": standing.trial.reward,
    }


def interval(config: SearchConfig, low: float, high: float) -> str:
    """Ends of an interval of rewards."""
    return f"{config.reward.shown(low)} .. {config.reward.shown(high)}"

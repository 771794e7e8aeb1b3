"""Controllers of a search, and how they get their history back from the journal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

from controllers import (
    CONTROLLERS,
    Controller,
    OptunaController,
    Outcome,
    PPOController,
    Proposal,
    RandomController,
)
from nas.configuration import ConfigError, nearest
from nas.references import is_reference, load_object
from nas.search.config import SearchConfig
from nas.search.records import Candidate, Trial
from nas.search.reward import RewardConfig, objectives_of
from search_space import Genotype, PyramidSpace, SearchSpace, known_genotype


def build_controller(config: SearchConfig, space: SearchSpace) -> Controller:
    """The configured controller; under `pareto` Optuna's samplers maximise both objectives unless told otherwise.

    Raises:
        ConfigError: for options that it does not take, initial necks outside the space, or a number of objectives that
            the reward does not have.
    """
    initial = [_initial(name, config, space) for name in config.controller.initial]
    make = _controller_class(config.controller.name)
    options = dict(config.controller.options)
    if config.reward.objective == "pareto" and issubclass(make, OptunaController):
        options.setdefault("objectives", 2)
    _check_names(config.controller.name, make, options)
    try:
        controller = make(space, seed=config.seed, initial=initial, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"controller {config.controller.name} (its options or initial necks): {error}") from error
    _check_objectives(config, controller)
    return controller


def _controller_class(name: str) -> type[Controller]:
    if not is_reference(name):
        return CONTROLLERS[name]
    try:
        make = load_object(name)
    except ConfigError as error:
        raise ConfigError(f"controller.name: {error}") from error
    if not (isinstance(make, type) and issubclass(make, Controller)):
        raise ConfigError(f"controller.name: {name} must be a subclass of controllers.Controller, it is {make!r:.100}")
    return make


def staleness(controller: Controller, workers: int) -> str | None:
    """Advice for so many trials at once that PPO would be left without outcomes to learn from; None otherwise.

    As many outcomes overtake a trial as there are others in work, at times three times as many, and the policy is
    updated once per batch of them (recorded in `simulated_clusters.md`).
    """
    if not isinstance(controller, PPOController) or controller.batch_size * controller.max_lag >= 3 * workers:
        return None
    lag = math.ceil(3 * workers / controller.batch_size)
    return (
        f"with {workers} trials at once many outcomes will come too late for PPO to learn from: set "
        f"controller.options.max_lag={lag}, or a larger controller.options.batch_size"
    )


def build_baseline(config: SearchConfig, space: SearchSpace) -> Controller:
    """Random search with a seed of its own, so that it draws other candidates than the search does."""
    return RandomController(space, seed=config.seed + 1_000_003)


def known_neck(name: str, config: SearchConfig) -> Genotype:
    """A published neck on the levels of the search, or one of `config.necks`.

    Raises:
        ConfigError: if it is not defined on them, or not known.
    """
    levels = config.proxy.neck.levels
    if (given := config.necks.get(name)) is not None:
        genotype = Genotype.from_dict(given)
        if genotype.levels != levels:
            raise ConfigError(
                f"the neck {name} has levels {genotype.levels}, the search {levels}; take it out of known and "
                "controller.initial, or set proxy.neck.levels"
            )
        return genotype
    try:
        return known_genotype(name, levels)
    except ValueError as error:
        raise ConfigError(f"known neck {name!r}: {error}; take it out of known and controller.initial") from error


def candidate_of(origin: str, proposal: Proposal) -> Candidate:
    """Candidate that the journal keeps for a proposal."""
    return Candidate(
        origin=origin,
        genotype=proposal.genotype,
        proposal=proposal.id,
        choices=proposal.choices,
        info=proposal.info,
        parent=proposal.parent,
    )


def outcome_of(trial: Trial, reward: RewardConfig) -> Outcome:
    """Outcome of a finished trial for its controller; what was taken off the reward is off the objective, too."""
    objectives = None if trial.reward is None else objectives_of(reward, trial.metrics)
    if objectives is not None and trial.reward is not None:
        objectives = (trial.reward, *objectives[1:])
    return Outcome(_proposal_of(trial.candidate), trial.reward, trial.state, trial.metrics, objectives)  # type: ignore[arg-type]


def replay(controller: Controller, trials: Sequence[Trial], reward: RewardConfig) -> None:
    """Give a fresh controller its trials of the journal."""
    controller.replay(*history(trials, reward))


def history(trials: Sequence[Trial], reward: RewardConfig) -> tuple[list[Proposal], list[Outcome]]:
    """Proposals of one controller by id, and their outcomes in the order of finishing."""
    proposals = sorted((_proposal_of(trial.candidate) for trial in trials), key=lambda proposal: proposal.id)
    finished = [trial for trial in trials if trial.state != "running"]
    finished.sort(key=lambda trial: trial.order or 0)
    return proposals, [outcome_of(trial, reward) for trial in finished]


def _check_names(name: str, make: type[Controller], options: dict[str, object]) -> None:
    known = option_names(make)
    if known is not None and (unknown := [option for option in options if option not in known]):
        raise ConfigError(f"controller {name} has no option {unknown[0]!r}{nearest(unknown[0], known)}")


def option_names(make: type[Controller]) -> list[str] | None:
    """Keyword arguments of a controller's constructor and of those that it hands others on to; None: it takes any."""
    names: list[str] = []
    for cls in make.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        names += [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            given = {"seed", "initial"} | (set() if cls is make else {"sampler"})
            return [each for each in dict.fromkeys(names) if each not in given]
    return None


def _check_objectives(config: SearchConfig, controller: Controller) -> None:
    wanted = getattr(controller, "objectives", 1)
    offered = 2 if config.reward.objective == "pareto" else 1
    if wanted not in (1, offered):
        raise ConfigError(
            f"controller {config.controller.name} maximises {wanted} objectives, reward.objective = "
            f"{config.reward.objective} gives {offered}; take reward.objective=pareto and a controller with 2 "
            "objectives, or one with 1"
        )


def _initial(name: str, config: SearchConfig, space: SearchSpace) -> Genotype:
    genotype = known_neck(name, config)
    if isinstance(space, PyramidSpace):
        genotype = space.ordered(genotype)
    try:
        space.encode(genotype)
    except ValueError as error:
        raise ConfigError(
            f"controller.initial: {name} is not in the search space {config.space.name}: {error}; leave it out, or "
            "take a space that contains it"
        ) from error
    return genotype


def _proposal_of(candidate: Candidate) -> Proposal:
    assert candidate.proposal is not None
    return Proposal(
        candidate.proposal, candidate.genotype, dict(candidate.choices), dict(candidate.info), candidate.parent
    )

"""Controllers: algorithms that propose genotypes and learn from their outcomes."""

from controllers.base import Controller
from controllers.evolution import EvolutionController
from controllers.optuna_controller import Nsga2Controller, OptunaController, TpeController
from controllers.ppo import PPOController
from controllers.random_search import RandomController
from controllers.records import Child, Outcome, Proposal, State

CONTROLLERS: dict[str, type[Controller]] = {
    "random": RandomController,
    "evolution": EvolutionController,
    "ppo": PPOController,
    "tpe": TpeController,
    "nsga2": Nsga2Controller,
}

__all__ = [
    "CONTROLLERS",
    "Child",
    "Controller",
    "EvolutionController",
    "Nsga2Controller",
    "OptunaController",
    "Outcome",
    "PPOController",
    "Proposal",
    "RandomController",
    "State",
    "TpeController",
]

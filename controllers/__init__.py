"""What to try next: controllers that propose genotypes and observe outcomes."""

from controllers.base import Controller
from controllers.evolution import EvolutionController
from controllers.random_search import RandomController
from controllers.records import Outcome, Proposal, State

CONTROLLERS: dict[str, type[Controller]] = {
    "random": RandomController,
    "evolution": EvolutionController,
}

__all__ = [
    "CONTROLLERS",
    "Controller",
    "EvolutionController",
    "Outcome",
    "Proposal",
    "RandomController",
    "State",
]

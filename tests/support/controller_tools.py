"""Our controllers by name, and a hash of what they propose."""

import hashlib
import json
from functools import partial

from controllers import CONTROLLERS, EvolutionController
from controllers.surrogate import Surrogate
from controllers.testing import SPACE, trajectory


class Screened(EvolutionController):
    """Evolution whose mutants are screened, by a forest of few trees: it is fitted for every proposal."""

    def __init__(self, space, **arguments):
        super().__init__(space, mutants=4, **arguments)
        self._surrogate = Surrogate(trees=5)


MAKERS = {**CONTROLLERS, "evolution, screened": Screened}
"""Every controller, and what an option makes another algorithm of."""

AS_THEY_ARE = {**CONTROLLERS, "evolution, screened": partial(EvolutionController, mutants=4)}


def trajectory_hash(name, seed):
    text = json.dumps(trajectory(AS_THEY_ARE[name](SPACE, seed=seed)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

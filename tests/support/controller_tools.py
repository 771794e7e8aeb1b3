"""Our controllers by name, and a hash of what they propose."""

import hashlib
import json
from functools import partial

from controllers import CONTROLLERS, EvolutionController
from controllers.testing import SPACE, trajectory

MAKERS = {**CONTROLLERS, "evolution, screened": partial(EvolutionController, mutants=4)}
"""Every controller, and what an option makes another algorithm of."""


def trajectory_hash(name, seed):
    text = json.dumps(trajectory(MAKERS[name](SPACE, seed=seed)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

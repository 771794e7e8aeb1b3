"""What the controller tests share: a space, a reward, and a run with every kind of outcome in it."""

import hashlib
import json
from collections import deque
from functools import partial

from controllers import CONTROLLERS, EvolutionController, Outcome
from search_space import NasFpnSpace

SPACE = NasFpnSpace(4, levels=(3, 4, 5))
"""518,400 points, quick to sample."""
TINY = NasFpnSpace(2, levels=(3, 4))
"""24 points."""


MAKERS = {**CONTROLLERS, "evolution, screened": partial(EvolutionController, mutants=4)}
"""Every controller, and what an option makes another algorithm of."""


def reward(genotype):
    """A fixed pseudo-random number from 0 to 1 that knows nothing of the genotype's structure."""
    return int(genotype.fingerprint, 16) / 16**16


def outcome(proposal):
    """Every fifth trial fails and every fourth is stopped."""
    if proposal.id % 5 == 3:
        return Outcome(proposal, None, "failed")
    return Outcome(proposal, reward(proposal.genotype), "stopped" if proposal.id % 4 == 2 else "complete")


class Journal:
    """Drives a controller and remembers what a journal would: proposals by id, outcomes as observed."""

    def __init__(self, controller):
        self.controller = controller
        self.proposals = []
        self.outcomes = []

    def run(self, trials, slots=3):
        """Keep `slots` proposals pending; report the oldest and the newest in turn, so that outcomes are unordered."""
        waiting = deque(self.controller.pending)
        for _ in range(trials):
            while len(waiting) < slots:
                new = self.controller.propose(1)
                self.proposals += new
                waiting += new
            done = waiting.pop() if self.controller.num_proposed % 2 else waiting.popleft()
            self.outcomes.append(outcome(done))
            self.controller.observe([self.outcomes[-1]])
        return self


def trajectory(controller, trials=40):
    """Fingerprints of everything proposed in a run."""
    return [proposal.genotype.fingerprint for proposal in Journal(controller).run(trials).proposals]


def trajectory_hash(name, seed):
    text = json.dumps(trajectory(MAKERS[name](SPACE, seed=seed)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

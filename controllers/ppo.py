"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), as NASNet's search used it (1707.07012)."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from controllers.base import Controller
from controllers.checks import MAX_UNITS, check_count, check_number
from controllers.evolution import mutate
from controllers.ppo_records import Example, RunningScale
from controllers.records import Outcome
from search_space import Choices, Genotype, SearchSpace
from search_space.bounds import shown

if TYPE_CHECKING:
    from controllers.policy import Policy

MAX_SETTING = 1000
"""Largest learning rate, clipping range and entropy weight; useful ones are below 1."""
MAX_DECAY = 0.999999
"""Largest decay of the baseline; at 1 it would never learn."""
LOG_PROB, VERSION, ENTROPY = "log_prob", "policy_version", "entropy"
"""Keys of a proposal's `info`: the log-probability of the whole genotype under the policy that proposed it, the
number of updates that this policy had had, and its mean entropy per decision on the way to the genotype, in nats."""


class PPOController(Controller):
    """Asynchronous PPO: trains an LSTM policy over the decisions of the space.

    Each proposal is drawn from the current policy. A genotype that was proposed before is mutated as in
    `evolution.mutate`, so a converged policy explores the neighbourhood of its favourite instead of repeating it. The
    mutant is learned from as if the policy had drawn it, with its log-probability under the policy. Initial genotypes
    are learned from in the same way, with their log-probability under the initial policy.

    After every `batch_size` outcomes with a reward the policy is updated `epochs` times on that batch::

        ratio = (p(genotype) / p_behaviour(genotype)) ** (1 / decisions)
        objective = mean of min(ratio * A, clip(ratio, 1 - clip, 1 + clip) * A) + entropy * mean entropy per decision
        A = (reward - baseline) / scale

    p_behaviour is the probability that was recorded when the genotype was proposed (`Proposal.info`), so an outcome
    of an older policy is weighted by the ratio and clipped. If the policy is more than `max_lag` updates old when its
    outcome arrives, the outcome is dropped: it changes neither the policy nor the baseline. The root makes the ratio a
    geometric mean over the decisions. The ratio of a whole genotype would leave the clipping range after a tiny change
    of each decision.

    The baseline is an exponential moving average of the rewards in the order of observation, with Adam's correction of
    the start at 0. The scale is the root of the same average of the squared distance from the baseline, so rewards in
    percent and rewards from 0 to 1 learn alike. With `normalise=False` the scale is 1, as in NASNet.

    Failed trials have no reward. They give no gradient and do not change the baseline, so the policy does not learn to
    avoid them. Stopped trials count with the reward that they had. Outcomes are learned in the order of observation.

    The defaults are for about a thousand trials. On synthetic problems over the published space they reached the top
    0.1 % of random samples after some 50 to 70 trials, the published learning rate after 110 to 330, and random search
    after 650. `nasnet` has the published values, which are for 20,000 trials.

    The controller is deterministic on one machine, whatever the number of threads. It seeds nothing global.

    Args:
        hidden: LSTM units.
        learning_rate: learning rate of Adam.
        entropy: weight of the entropy bonus.
        baseline_decay: decay of both moving averages.
        batch_size: outcomes per update.
        epochs: gradient steps per update.
        clip: half the width of the clipping range of the ratio, around 1.
        max_lag: largest age of a policy, in updates, whose outcomes are learned from.
        normalise: divide advantages by the running scale.

    Raises:
        ValueError: for a number out of range.
    """

    _info_keys = frozenset({LOG_PROB, VERSION, ENTROPY})

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        initial: Sequence[Genotype] = (),
        hidden: int = 100,
        learning_rate: float = 5e-3,
        entropy: float = 0.05,
        baseline_decay: float = 0.95,
        batch_size: int = 10,
        epochs: int = 4,
        clip: float = 0.2,
        max_lag: int = 10,
        normalise: bool = True,
    ) -> None:
        from controllers.policy import Policy, Sampler  # here, since they bring torch with them
        from controllers.ppo_update import Updater

        super().__init__(space, seed=seed, initial=initial)
        check_count("hidden", hidden, 1, MAX_UNITS)
        check_count("batch_size", batch_size, 1)
        check_count("epochs", epochs, 1)
        check_count("max_lag", max_lag, 0)
        check_number("learning_rate", learning_rate, 0, MAX_SETTING, open_low=True)
        check_number("clip", clip, 0, MAX_SETTING, open_low=True)
        check_number("entropy", entropy, 0, MAX_SETTING)
        check_number("baseline_decay", baseline_decay, 0, MAX_DECAY)
        if not isinstance(normalise, bool):
            raise ValueError(f"normalise must be True or False, got {shown(normalise)}")
        self.batch_size = batch_size
        self.max_lag = max_lag
        self._settings = [hidden, learning_rate, entropy, baseline_decay, batch_size, epochs, clip, max_lag, normalise]
        self._normalise = normalise
        weights_seed = random.Random(f"{seed}:weights").getrandbits(32)
        self._policy = Policy(space, hidden=hidden, seed=weights_seed)
        self._updater = Updater(self._policy, learning_rate=learning_rate, entropy=entropy, epochs=epochs, clip=clip)
        self._make_sampler = partial(Sampler, self._policy)
        self._sampler = self._make_sampler()
        self._rewards = RunningScale(baseline_decay)
        self._batch: list[Example] = []
        self._entropies: deque[float] = deque(maxlen=batch_size)
        self._num_updates = 0
        self._num_dropped = 0

    @classmethod
    def nasnet(cls, space: SearchSpace, *, seed: int = 0, initial: Sequence[Genotype] = ()) -> PPOController:
        """NASNet's values where it states them: 100 units, lr 3.5e-4, entropy 1e-5, baseline .95, batches of 20.

        It states neither epochs, clipping nor lag; those are the defaults. Its advantages are not scaled, so rewards
        should be of the order of 1.
        """
        return cls(
            space,
            seed=seed,
            initial=initial,
            learning_rate=3.5e-4,
            entropy=1e-5,
            baseline_decay=0.95,
            batch_size=20,
            normalise=False,
        )

    @property
    def policy(self) -> Policy:
        """Current policy, to be read only: recovery fails if it is changed."""
        return self._policy

    @property
    def entropy(self) -> float:
        """Mean entropy per decision, in nats, of the policies that proposed the last `batch_size` outcomes; nan
        before."""
        return math.fsum(self._entropies) / len(self._entropies) if self._entropies else math.nan

    @property
    def baseline(self) -> float:
        """Moving average of the rewards; nan before the first."""
        return self._rewards.mean

    @property
    def num_updates(self) -> int:
        """Number of updates of the policy so far."""
        return self._num_updates

    @property
    def num_dropped(self) -> int:
        """Number of outcomes that came too late to learn from."""
        return self._num_dropped

    def diagnostics(self) -> dict[str, float]:
        """Baseline of the reward, entropy of the policy, updates so far."""
        if not self._entropies:
            return {}
        return {
            "reward baseline": self.baseline,
            "entropy per decision (nats)": self.entropy,
            "updates of the policy": float(self.num_updates),
        }

    def _next(self, rng: random.Random) -> Genotype:
        genotype = self.space.decode(self._sampler.sample(rng))
        return mutate(self.space, genotype, self._is_duplicate, rng) if self._is_duplicate(genotype) else genotype

    def _info(self, choices: Choices) -> dict[str, float]:
        total, entropy = self._policy.judge(choices)
        return {LOG_PROB: total, VERSION: self._num_updates, ENTROPY: entropy}

    def _learn(self, outcome: Outcome) -> None:
        if outcome.reward is None:
            return
        info = outcome.proposal.info
        if self._num_updates - info[VERSION] > self.max_lag:
            self._num_dropped += 1
            return
        self._entropies.append(info[ENTROPY])
        self._rewards.add(outcome.reward)
        self._batch.append(Example(outcome.proposal.choices, outcome.reward, info[LOG_PROB]))
        if len(self._batch) == self.batch_size:
            self._update()

    def _update(self) -> None:
        scale = self._rewards.scale if self._normalise else 1.0
        self._updater.update(self._batch, [(example.reward - self.baseline) / scale for example in self._batch])
        self._batch = []
        self._num_updates += 1
        self._sampler = self._make_sampler()

    def _state(self) -> dict[str, Any]:
        return {
            "rewards": self._rewards.to_dict(),
            "batch": [example.to_dict() for example in self._batch],
            "entropies": list(self._entropies),
            "num_updates": self._num_updates,
            "num_dropped": self._num_dropped,
            "weights": self._updater.to_dict(),
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self._updater.load(state["weights"])
        self._sampler = self._make_sampler()
        self._rewards.load(state["rewards"])
        self._batch = [Example(**item) for item in state["batch"]]
        self._entropies = deque(state["entropies"], maxlen=self.batch_size)
        self._num_updates = state["num_updates"]
        self._num_dropped = state["num_dropped"]

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "settings": self._settings}

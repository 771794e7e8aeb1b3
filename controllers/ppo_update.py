"""The gradient steps of PPO."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from controllers.policy import Batch, Policy, entropies, log_probs_of, one_thread
from controllers.ppo_records import Example

MAX_GRADIENT_NORM = 1.0
"""NASNet and NAS-FPN state none; 1 leaves typical steps alone."""
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8
"""Adam's."""


class Updater:
    """Adam on the clipped objective of `PPOController`."""

    def __init__(self, policy: Policy, *, learning_rate: float, entropy: float, epochs: int, clip: float) -> None:
        self._policy = policy
        self._adam = Adam(list(policy.parameters()), learning_rate)
        self._entropy = entropy
        self._epochs = epochs
        self._clip = clip

    @one_thread()
    def update(self, examples: Sequence[Example], advantages: Sequence[float]) -> None:
        """`epochs` gradient steps on one batch."""
        batch = self._policy.encode([example.choices for example in examples])
        behaviour = torch.tensor([example.log_prob for example in examples], dtype=torch.float32)
        weights = torch.tensor(advantages, dtype=torch.float32)
        for _ in range(self._epochs):
            self._policy.zero_grad()
            (-self._objective(batch, behaviour, weights)).backward()
            torch.nn.utils.clip_grad_norm_(self._policy.parameters(), MAX_GRADIENT_NORM)
            self._adam.step()

    def _objective(self, batch: Batch, behaviour: Tensor, advantages: Tensor) -> Tensor:
        log_probs = self._policy(batch)
        difference = log_probs_of(log_probs, batch).sum(-1) - behaviour
        gain = clipped(difference / batch.steps.sum(-1), advantages, self._clip)
        return gain.mean() + self._entropy * entropies(log_probs, batch).mean()

    def to_dict(self) -> dict[str, Any]:
        """Weights and Adam's moments as base64 of their float32 bytes, by parameter name."""
        names = [name for name, _ in self._policy.named_parameters()]
        tensors = zip(self._policy.parameters(), self._adam.first, self._adam.second, strict=True)
        return {
            "steps": self._adam.steps,
            "parameters": {name: list(map(to_text, each)) for name, each in zip(names, tensors, strict=True)},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `to_dict` wrote."""
        self._adam.steps = state["steps"]
        names = [name for name, _ in self._policy.named_parameters()]
        tensors = zip(self._policy.parameters(), self._adam.first, self._adam.second, strict=True)
        with torch.no_grad():
            for name, each in zip(names, tensors, strict=True):
                for tensor, text in zip(each, state["parameters"][name], strict=True):
                    tensor.copy_(from_text(text, tensor))


class Adam:
    """Adam, arXiv 1412.6980 algorithm 1. (torch.optim's first step imports torch's compiler, which takes seconds.)"""

    def __init__(self, weights: list[nn.Parameter], learning_rate: float) -> None:
        self.steps = 0
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]
        self._weights = weights
        self._learning_rate = learning_rate

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight against its gradient."""
        self.steps += 1
        rate = self._learning_rate / (1 - FIRST_DECAY**self.steps)
        correction = 1 - SECOND_DECAY**self.steps
        for weight, first, second in zip(self._weights, self.first, self.second, strict=True):
            assert weight.grad is not None
            first.lerp_(weight.grad, 1 - FIRST_DECAY)
            second.mul_(SECOND_DECAY).addcmul_(weight.grad, weight.grad, value=1 - SECOND_DECAY)
            weight.addcdiv_(first, (second / correction).sqrt_().add_(EPSILON), value=-rate)


def clipped(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's objective per example, arXiv 1707.06347 equation 7; the same shape as its arguments."""
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def to_text(tensor: Tensor) -> str:
    """Base64 of a float32 tensor's bytes, little-endian."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


def from_text(text: str, like: Tensor) -> Tensor:
    """Tensor that `to_text` wrote, in the shape of `like`."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype="<f4").copy()).view_as(like)

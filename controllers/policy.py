"""An LSTM policy over the decisions of a search space: log-probabilities with gradients, and quick sampling."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from controllers.vocabulary import Vocabulary
from search_space import Choice, Choices, Decision, SearchSpace

# N sequences, T decisions of the longest, K choices of the largest decision, H hidden units.

INIT_RANGE = 0.1
"""All weights start uniform in (-0.1, 0.1): NASNet, arXiv 1707.07012, appendix A.3."""


@dataclass(frozen=True)
class Batch:
    """Sequences of decisions as tensors, padded at the end.

    Args:
        inputs: N T, the row of the input embedding: what was chosen before.
        names: N T, which decision it is.
        actions: N T, the position of the choice among the decision's fixed choices.
        allowed: N T K, which choices were open. Padded steps have one open choice, so they add a log-probability of 0.
        steps: N T, 1 for decisions, 0 for padding.
    """

    inputs: Tensor
    names: Tensor
    actions: Tensor
    allowed: Tensor
    steps: Tensor


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes on one thread.

    Gradients of looked-up rows are accumulated in any order by several threads, so that the last bits differ from run
    to run; and a policy so small is quicker on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Policy(nn.Module):
    """p(genotype) = product over its decisions of p(choice | decision, choices before it).

    The input of a step is a learned vector of the choice before plus one of the decision; one LSTM layer; one linear
    head per decision name. Choices that are not allowed have probability 0 and the others sum to 1.

    Args:
        space: whose decisions to learn.
        hidden: LSTM units.
        seed: of the initial weights.
    """

    def __init__(self, space: SearchSpace, *, hidden: int = 100, embedding: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.vocabulary = Vocabulary.of(space)
        names, width = len(self.vocabulary.names), self.vocabulary.max_choices
        self.choice_vectors = nn.Parameter(torch.empty(self.vocabulary.num_rows, embedding))
        self.name_vectors = nn.Parameter(torch.empty(names, embedding))
        self.input_weights = nn.Parameter(torch.empty(4 * hidden, embedding))
        self.recurrent_weights = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.gate_biases = nn.Parameter(torch.empty(4 * hidden))
        self.head_weights = nn.Parameter(torch.empty(names, hidden, width))
        self.head_biases = nn.Parameter(torch.empty(names, width))
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-INIT_RANGE, INIT_RANGE, generator=generator)

    def forward(self, batch: Batch) -> Tensor:
        """Log-probability of every choice, N T K; -inf where it is not allowed."""
        hidden = self._lstm(self.choice_vectors[batch.inputs] + self.name_vectors[batch.names])
        logits = self._heads(hidden, batch).masked_fill(~batch.allowed, -torch.inf)
        return torch.log_softmax(logits, dim=-1)

    def _heads(self, hidden: Tensor, batch: Batch) -> Tensor:
        """N T K, 0 at padded steps. Grouped by name, which a sequence has once, so that no head is copied per step."""
        real = batch.steps.bool()
        sequences = torch.arange(len(hidden)).unsqueeze(-1).expand_as(real)[real]
        names = batch.names[real]
        by_name = hidden.new_zeros(len(self.head_weights), len(hidden), hidden.shape[-1])
        by_name = by_name.index_put((names, sequences), hidden[real])
        logits = torch.baddbmm(self.head_biases.unsqueeze(1), by_name, self.head_weights)
        return logits.new_zeros(batch.allowed.shape).masked_scatter(real.unsqueeze(-1), logits[names, sequences])

    def _lstm(self, inputs: Tensor) -> Tensor:
        """Hidden states, N T H. (`nn.LSTM` would draw its first weights from the global generator.)"""
        start = inputs.new_zeros(1, len(inputs), self.recurrent_weights.shape[1])
        weights = [self.input_weights, self.recurrent_weights, self.gate_biases, torch.zeros_like(self.gate_biases)]
        hidden, _, _ = torch.lstm(
            inputs,
            (start, start),
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=True,
        )
        return hidden

    def encode(self, sequences: Sequence[Choices]) -> Batch:
        """Complete sequences as a batch.

        Raises:
            ValueError: for a decision that the policy does not know or a choice that is not allowed.
        """
        walks = [list(self._walk(choices)) for choices in sequences]
        shape = (len(walks), max(len(walk) for walk in walks))
        inputs, names, actions = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        allowed = np.zeros((*shape, self.vocabulary.max_choices), dtype=bool)
        allowed[:, :, 0] = True
        steps = np.zeros(shape, dtype=np.float32)
        for n, walk in enumerate(walks):
            t = len(walk)
            inputs[n, :t], names[n, :t], actions[n, :t], allowed[n, :t] = zip(*walk, strict=True)
            steps[n, :t] = 1
        return Batch(*(torch.from_numpy(array) for array in (inputs, names, actions, allowed, steps)))

    @one_thread()
    def judge(self, choices: Choices) -> tuple[float, float]:
        """Log-probability of a complete sequence, and the mean entropy per decision on the way to it, in nats."""
        with torch.no_grad():
            batch = self.encode([choices])
            log_probs = self(batch)
        return float(log_probs_of(log_probs, batch).sum()), float(entropies(log_probs, batch))

    def _walk(self, choices: Mapping[str, Choice]) -> Iterator[tuple[int, int, int, list[bool]]]:
        prefix: dict[str, Choice] = {}
        row = 0
        while (decision := self.space.next_decision(prefix)) is not None:
            choice = choices.get(decision.name)
            if choice not in decision.allowed:
                raise ValueError(f"{decision.name} is {choice!r}, allowed here are {decision.allowed}")
            name = self.vocabulary.index(decision)
            action = decision.choices.index(choice)
            yield row, name, action, self.vocabulary.mask(decision)
            prefix[decision.name] = choice
            row = self.vocabulary.row(name, action)


def log_probs_of(log_probs: Tensor, batch: Batch) -> Tensor:
    """Log-probability of what was chosen, N T."""
    return log_probs.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)


def entropies(log_probs: Tensor, batch: Batch) -> Tensor:
    """Mean entropy per decision in nats, N."""
    finite = log_probs.masked_fill(~batch.allowed, 0.0)
    entropy = -(finite.exp() * finite).sum(-1)
    return (entropy * batch.steps).sum(-1) / batch.steps.sum(-1)


class Sampler:
    """The policy's forward pass in numpy, step by step: a tenth of the time that torch takes for one sequence.

    Holds a copy of the weights at the time of construction.
    """

    def __init__(self, policy: Policy) -> None:
        with torch.no_grad():
            of_input = policy.input_weights.T
            self._choice_gates = (policy.choice_vectors @ of_input + policy.gate_biases).numpy().copy()
            self._name_gates = (policy.name_vectors @ of_input).numpy().copy()
            self._recurrent = policy.recurrent_weights.numpy().copy()
            self._head_weights = policy.head_weights.transpose(1, 2).numpy().copy()
            self._head_biases = policy.head_biases.numpy().copy()
        self._space = policy.space
        self._vocabulary = policy.vocabulary

    def sample(self, rng: random.Random) -> dict[str, Choice]:
        """A complete sequence drawn from the policy."""
        choices: dict[str, Choice] = {}
        hidden = cell = np.zeros(self._recurrent.shape[1], dtype=np.float32)
        row = 0
        while (decision := self._space.next_decision(choices)) is not None:
            name = self._vocabulary.index(decision)
            gates = self._choice_gates[row] + self._name_gates[name] + self._recurrent @ hidden
            hidden, cell = _lstm_step(gates, cell)
            action = self._draw(decision, self._head_weights[name] @ hidden + self._head_biases[name], rng)
            choices[decision.name] = decision.choices[action]
            row = self._vocabulary.row(name, action)
        return choices

    @staticmethod
    def _draw(decision: Decision, logits: np.ndarray, rng: random.Random) -> int:
        """In plain Python: with a handful of choices numpy's calls would take most of a proposal's time."""
        values = logits.tolist()
        actions = [action for action, choice in enumerate(decision.choices) if choice in decision.allowed]
        highest = max(values[action] for action in actions)
        return rng.choices(actions, [math.exp(values[action] - highest) for action in actions])[0]


def _lstm_step(gates: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gates in torch's order: input, forget, candidate, output."""
    size = len(cell)
    squashed = 0.5 + 0.5 * np.tanh(0.5 * gates)
    cell = squashed[size : 2 * size] * cell + squashed[:size] * np.tanh(gates[2 * size : 3 * size])
    return squashed[3 * size :] * np.tanh(cell), cell

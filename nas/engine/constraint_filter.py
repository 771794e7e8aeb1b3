"""Filter of candidates by the constraints; too many rejections in a row end the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nas.errors import UserError
from nas.search.constraints import MEASURES, ConstraintConfig, Measured, Violation, amount, measure_of, violations
from nas.search.records import Candidate, Trial
from search_space import Genotype

Count = Callable[..., Mapping[str, float]]
"""(genotype, channels) -> `params` and `macs`, where the channels are those of the candidates by default."""


class UnsatisfiedError(UserError):
    """Nearly all candidates are over a limit; everything finished is in the journal."""


@dataclass(frozen=True)
class Rejection:
    """Why a candidate is not trained."""

    measured: dict[str, float]
    violations: tuple[Violation, ...]

    @property
    def limits(self) -> tuple[str, ...]:
        return tuple(violation.limit for violation in self.violations)

    @property
    def reason(self) -> str:
        return "constraint: " + "; ".join(map(str, self.violations))


class ConstraintFilter:
    """Checks candidates against the limits, and remembers the rejected ones.

    A row is a sequence of rejected candidates that one controller proposed one after another; one that was let through,
    or is still in work, ends it. Rejections that the limits of today would not make, having been relaxed, end it too.

    Args:
        cost: counts `params` and `macs`; made at the first use, since that may be slow.
        trials: of the journal so far.
    """

    def __init__(
        self,
        constraints: ConstraintConfig,
        cost: Callable[[], Count],
        trials: Iterable[Trial],
    ) -> None:
        self.constraints = constraints
        self._make_cost = cost
        self._cost: Count | None = None
        self._rejected: dict[str, dict[int, Trial]] = {}
        self._latency: dict[tuple[str, int | None], float] = {}
        for trial in trials:
            if trial.rejected:
                self.remember(trial)

    @property
    def counts_cost(self) -> bool:
        """True if a limit can be checked before a candidate is handed out."""
        return self.constraints.max_params is not None or self.constraints.max_macs is not None

    @property
    def needs_worker(self) -> bool:
        """True if a limit can only be checked by a worker."""
        return self.constraints.max_latency_ms is not None or bool(self.constraints.max_costs)

    @property
    def total(self) -> int:
        """Candidates of all controllers that were rejected."""
        return sum(map(len, self._rejected.values()))

    def rejected(self, origin: str) -> int:
        """Candidates of one controller that were rejected."""
        return len(self._rejected.get(origin, {}))

    def count(self, genotype: Genotype, *channels: int) -> Mapping[str, float]:
        """`params` and `macs` of a neck, by default at the candidates' width."""
        self._cost = self._cost or self._make_cost()
        return self._cost(genotype, *channels)

    def check(self, candidate: Candidate) -> Rejection | None:
        """By its own count, and by the latency that a worker measured of the same function.

        Known necks and confirmations always pass.
        """
        if not candidate.is_limited or not self.constraints.limits():
            return None
        width = () if candidate.channels is None else (candidate.channels,)
        if self.counts_cost and (rejection := self.judge(candidate, self.count(candidate.genotype, *width))):
            return rejection
        latency = self._latency.get((candidate.genotype.fingerprint, candidate.channels))
        return None if latency is None else self.judge(candidate, {"latency_ms": latency})

    def judge(self, candidate: Candidate, measured: Measured) -> Rejection | None:
        """By measures that somebody took; known necks and confirmations always pass."""
        broken = violations(self.constraints, measured)
        if not broken or not candidate.is_limited:
            return None
        kept = {*MEASURES.values(), *map(measure_of, self.constraints.limits())}
        return Rejection({key: value for key, value in measured.items() if key in kept}, tuple(broken))

    def remember(self, trial: Trial) -> None:
        """Take in a rejected trial of a controller."""
        assert trial.candidate.proposal is not None
        self._rejected.setdefault(trial.candidate.origin, {})[trial.candidate.proposal] = trial
        if "latency_ms" in trial.metrics:
            function = (trial.candidate.genotype.fingerprint, trial.candidate.channels)
            self._latency[function] = trial.metrics["latency_ms"]

    def refuse_long_row(self, origin: str, proposal: int | None) -> None:
        """
        Raises:
            UnsatisfiedError: if the proposal lies in a row of `max_rejections_in_a_row` rejected ones or more.
        """
        row = [] if proposal is None else self._row(origin, proposal)
        if len(row) >= self.constraints.max_rejections_in_a_row:
            raise UnsatisfiedError(_explain(origin, row, self.constraints))

    def _row(self, origin: str, proposal: int) -> list[Trial]:
        """The row that a proposal lies in, if any."""
        trials = self._rejected.get(origin, {})
        row = []
        for step in (-1, 1):
            position = proposal if step < 0 else proposal + 1
            while (trial := trials.get(position)) is not None and violations(self.constraints, trial.metrics):
                row.append(trial)
                position += step
        return row


def _explain(origin: str, row: list[Trial], constraints: ConstraintConfig) -> str:
    broken = Counter(v.limit for trial in row for v in violations(constraints, trial.metrics))
    parts = []
    for limit, count in broken.items():
        measure = measure_of(limit)
        smallest = min(trial.metrics[measure] for trial in row if measure in trial.metrics)
        parts.append(
            f"{count} by {limit} = {constraints.limits()[limit]:,} (the smallest of them: {amount(limit, smallest)})"
        )
    fields = " or ".join(f"constraints.{limit}" for limit in broken)
    return (
        f"the last {len(row)} candidates of the {origin} controller were all rejected: {', '.join(parts)}. "
        f"Raise {fields}, or constraints.max_rejections_in_a_row, and run again in the same directory; or search for "
        "smaller necks (proxy.neck.channels, .repeats, .separable, a space with fewer cells) in a new one"
    )

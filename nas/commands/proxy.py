"""`nasfpn proxy`: whether a proxy task tells necks apart, and how cheap it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nas.commands.precision import with_precision
from nas.commands.trainings import listed, make_table, train, write_record
from nas.comparison.check import SEPARATION, CheckPlan, CheckResult, check, longer
from nas.comparison.choose import Judged, grid, judge, recommended
from nas.comparison.necks import diverse_necks
from nas.comparison.training_job import plain_topology
from nas.configuration import ConfigError, override
from nas.search.config import SearchConfig, load_search
from nas.terminal import console, heading


@dataclass(frozen=True)
class Effort:
    """How much is trained.

    Args:
        longer: steps of the long training, in trainings of the proxy.
    """

    necks: int
    seeds: int
    long_seeds: int
    longer: float


def check_proxy(experiment: str, out: Path, assignments: Sequence[str], effort: Effort, address: str | None) -> None:
    plan = _plan(with_precision(override(load_search(experiment), assignments)), effort)
    store = train(plan.jobs(), plan.config.resources, out, address)
    result = check(plan, store)
    _print_scores(result)
    _print_shares(result)
    _print_verdict(plan, result)
    write_record(out, "check", plan.config, {"verdict": _verdict(result), **_plain(result)})
    _draw(out, plan, result)


def choose_proxy(
    experiment: str,
    out: Path,
    assignments: Sequence[str],
    variations: Sequence[str],
    effort: Effort,
    address: str | None,
) -> None:
    config = with_precision(override(load_search(experiment), assignments))
    settings = grid(config.proxy, variations)
    plan = _plan(config, effort)
    jobs = [job for setting in settings for job in replace(plan, proxy=setting.proxy).proxy_jobs()]
    store = train([*plan.reference_jobs(), *jobs], plan.config.resources, out, address)
    judged = judge(plan, settings, store)
    _print_settings(judged)
    entry, why = recommended(judged)
    flags = " ".join(f"--set proxy.{assignment}" for assignment in entry.setting.assignments)
    console.print(f"recommended: {flags}\n  {why}; tau {entry.result.agreement.tau:.2f}", soft_wrap=True)
    rows = [
        {"setting": list(row.setting.assignments), "within": row.within, "enough": row.enough, **_plain(row.result)}
        for row in judged
    ]
    write_record(out, "choose", plan.config, {"recommended": list(entry.setting.assignments), "settings": rows})


def _plan(config: SearchConfig, effort: Effort) -> CheckPlan:
    if min(effort.seeds, effort.long_seeds) < 2:
        raise ConfigError("noise cannot be measured with one seed; give --seeds and --long-seeds at least 2")
    if effort.longer <= 1:
        raise ConfigError(
            f"the long training must be longer than the proxy task; --longer must be above 1, got {effort.longer:g}"
        )
    from nas.comparison.content import content_of

    return CheckPlan(
        config=config,
        necks=diverse_necks(config, effort.necks),
        proxy=config.proxy,
        reference=longer(config.proxy, effort.longer),
        seeds=effort.seeds,
        reference_seeds=effort.long_seeds,
        content=content_of(config),
    )


def _print_scores(result: CheckResult) -> None:
    table = make_table("AP by neck, each seed", "neck", "proxy", "long training")
    for row in sorted(result.scores, key=lambda row: -sum(row.reference)):
        table.add_row(row.neck.label, listed(row.proxy), listed(row.reference))
    console.print(table)
    for label, reason in result.failed.items():
        console.print(f"{label} is left out: {reason}", soft_wrap=True)


def _print_shares(result: CheckResult) -> None:
    shares = sorted(result.shares.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
    console.print(f"time of a trial: {result.seconds:.1f} s (median); {parts}", soft_wrap=True)


def _print_verdict(plan: CheckPlan, result: CheckResult) -> None:
    found = result.agreement
    steps = plan.proxy.steps, plan.reference.steps
    console.print(
        f"noise: AP varies by {result.proxy_std:.2f} from seed to seed (standard deviation), "
        f"{result.reference_std:.2f} in the long training\n"
        f"spread: {result.known_spread:.1f} between known necks, {result.random_spread:.1f} between random ones, "
        f"which is {result.separation:.1f} times the noise\n"
        f"rank correlation with {steps[1]} steps: Kendall's tau {found.tau:.2f} (90 % interval {found.low:.2f} to "
        f"{found.high:.2f}) for {steps[0]} steps and one seed; noise ceiling, one more long training: "
        f"{found.ceiling:.2f}; were the proxy wrong by its own noise alone, it would reach {found.own_ceiling:.2f}",
        soft_wrap=True,
    )
    if result.among_random is not None:
        console.print(f"among the random necks alone: tau {result.among_random.tau:.2f}", soft_wrap=True)
    console.print(heading(_verdict(result)), soft_wrap=True)


def _verdict(result: CheckResult) -> str:
    tau, goal = result.agreement.tau, result.goal
    if not result.reference_ranks:
        return (
            f"nothing can be said: the long training does not agree with itself about these necks (noise ceiling "
            f"{result.agreement.ceiling:.2f}); take more reward images, more seeds, or train longer"
        )
    ranks = f"it ranks them {'as' if result.ranks else 'not as'} asked: tau {tau:.2f}, {goal:.2f} or more wanted"
    if result.separates and result.ranks:
        return f"the proxy tells necks apart; {ranks}"
    if result.separates:
        return f"the proxy tells necks apart, but {ranks}; train longer, or change what differs from the long training"
    return (
        f"the proxy does not tell random necks apart by one training (spread {result.separation:.1f} times the noise, "
        f"{SEPARATION:g} wanted); {ranks}; take more reward images, or train longer"
    )


def _print_settings(judged: Sequence[Judged]) -> None:
    table = make_table(
        "settings, cheapest first",
        *("setting", "s per trial", "tau", "90 % interval", "by noise alone", "noise", "spread / noise", "verdict"),
    )
    for row in judged:
        found = row.result.agreement
        verdict = "as a long training" if row.within else "good enough" if row.enough else "too poor"
        table.add_row(
            str(row.setting),
            f"{row.result.seconds:.1f}",
            f"{found.tau:.2f}",
            f"{found.low:.2f}..{found.high:.2f}",
            f"{found.own_ceiling:.2f}",
            f"{row.result.proxy_std:.2f}",
            f"{row.result.separation:.1f}",
            verdict,
        )
    console.print(table)
    found = judged[0].result.agreement
    console.print(
        f"noise ceiling: one more long training of one seed would reach tau {found.ceiling:.2f} on average, and "
        f"{found.ceiling_low:.2f} or more 19 times of 20",
        soft_wrap=True,
    )


def _draw(out: Path, plan: CheckPlan, result: CheckResult) -> None:
    from nas.comparison.pictures import proxy_against_reference

    path = out / "check.png"
    labels = f"{plan.proxy.steps} steps", f"{plan.reference.steps} steps"
    proxy_against_reference(result.scores, *labels).savefig(path, dpi=150)
    console.print(f"picture: {path}", soft_wrap=True)


def _plain(result: CheckResult) -> dict[str, object]:
    """As JSON takes it."""
    plain = asdict(result)
    plain["scores"] = [
        {
            "neck": row.neck.label,
            "group": row.neck.group,
            "genotype": plain_topology(row.neck.topology),
            "proxy": row.proxy,
            "reference": row.reference,
        }
        for row in result.scores
    ]
    return plain

"""Commands on a run directory: status, report, rerun. Torch is imported only where weights are read."""

from __future__ import annotations

import sys

from nas.credentials import without_credentials
from nas.errors import UserError
from nas.plain_json import dumps
from nas.results.confirmed import conclusion, verdict_of
from nas.results.summary import status
from nas.results.time_left import left_phrase
from nas.runs.journal import open_journal
from nas.runs.own_code import require_trusted_code, trusts_code
from nas.runs.places import fetch, fetched, publish, shown
from nas.runs.run_directory import RunDirectory
from nas.runs.start_weights import StartWeights
from nas.runs.trial_names import chosen_trial, named_trial
from nas.search.config import SearchConfig
from nas.search.inheritance import INHERITED_FROM
from nas.search.records import Trial
from nas.terminal import console
from nas.text import MESSAGE_LIMIT, plain

REWARD_TOLERANCE = 1e-6


def show_status(run_dir: str, as_json: bool) -> None:
    with fetched(run_dir) as run:
        config, trials = _read(run)
        now = status(config, trials, run.is_live())
    if as_json:
        sys.stdout.write(dumps(now, indent=2) + "\n")
        return
    console.print(
        f"{now['name']}: {now['state']}, {now['finished']} of {now['total']} finished, "
        + (f"{now['stopped']} stopped early, " if now["stopped"] else "")
        + f"{now['failed']} failed, "
        f"{now['running']} {'running' if now['state'] == 'running' else 'cut off'}"
        + (f", {now['rejected']} rejected by a constraint" if now["rejected"] else "")
        + ("" if now["seconds_left"] is None else f"; {left_phrase(now['seconds_left'])}"),
        soft_wrap=True,
    )
    for trial in trials:
        if trial.state == "failed" and not trial.rejected:
            console.print(f"  trial {trial.number} failed: {plain(trial.error or '', MESSAGE_LIMIT)}")
    for label in ("best", "best_found"):
        if (entry := now[label]) is not None:
            console.print(
                f"{label.replace('_', ' ')}, observed: trial {entry['trial']} ({entry['origin']}, "
                f"{entry['channels']} channels), "
                f"{config.reward.name} {config.reward.shown(entry['reward'])}"
            )
    if (verdict := verdict_of(config, trials)) is not None:
        console.print(f"confirmed by {verdict.trainings} trainings: {conclusion(config, verdict)}", soft_wrap=True)


def make_report(run_dir: str) -> None:
    with fetched(run_dir, "final") as run:
        config, trials = _read(run)
        trusts_code(run, config)
        from nas.results.report import write_report

        page = write_report(run, config, trials, run_dir)
        publish(run_dir, run, run.report)
        console.print(f"report: {shown(run_dir, run, page)}", soft_wrap=True)


def rerun_trial(name: str, number: int | None) -> None:
    """
    Args:
        name: of the search, or of one of its trials.
    """
    run_dir, number = named_trial(name, number)
    if number is None:
        raise UserError(f"name the trial to train again, such as {without_credentials(run_dir)}:0")
    from nas.engine.rerun import observed_reward, start_of, train_again

    with fetched(run_dir) as run:
        config, trials = _read(run)
        require_trusted_code(run, config)
        trial = _trained(trials, number, shown(run_dir, run))
        starts = StartWeights(run)
        if (source := trial.metrics.get(INHERITED_FROM)) is not None:
            fetch(run_dir, run, starts.file(int(source)))
        start = start_of(config, trial, starts)
    reward, before = train_again(config, trial, start=start), observed_reward(trial)
    same = abs(reward - before) < REWARD_TOLERANCE
    console.print(
        f"trial {number}: {config.reward.name} {reward:.6g} now, {before:.6g} in the journal: "
        + ("the same" if same else "not the same; other hardware or versions (config.json has those of the search)?")
    )
    if not same:
        raise SystemExit(1)


def _trained(trials: list[Trial], number: int, place: str) -> Trial:
    """
    Raises:
        UserError: if there is no such trial, or it was not trained itself.
    """
    trial = chosen_trial(trials, number, place)
    if trial.reward is None or trial.copied_from is not None:
        hint = f"trial {trial.copied_from}" if trial.copied_from is not None else "one with a reward"
        raise UserError(f"trial {number} was not trained to a reward; take {hint}")
    return trial


def _read(run: RunDirectory) -> tuple[SearchConfig, list[Trial]]:
    return run.read_config(), open_journal(run).trials()

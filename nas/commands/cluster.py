"""`nasfpn submit`: a search on a cluster that runs elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import typer

from nas import interruption
from nas.cluster.client import ClusterError, Jobs, connect, follow, submit_when_ready
from nas.cluster.job import authentication_mode, holds_project, quoted, require_experiment, runtime_env
from nas.credentials import without_credentials
from nas.runs.remote.files import is_url
from nas.terminal import shown


def submit(
    command: Sequence[str],
    address: str,
    *,
    working_dir: str,
    variables: Sequence[str],
    submission_id: str | None,
    wait: bool,
) -> int:
    """Send a search as a Ray job and follow its log.

    Returns:
        The exit status: 0 if the job succeeded, or was sent and not waited for; 1 if it failed or was stopped; 130 if
        the user left it running with Ctrl-C, 143 after SIGTERM.
    """
    require_experiment(command[command.index("search") + 1], working_dir)
    environment = runtime_env(working_dir, variables)
    jobs, protected = connect(address)
    if protected:
        environment["env_vars"] = authentication_mode() | environment["env_vars"]
    if not is_url(working_dir) and not holds_project(working_dir):
        _say(f"note: {working_dir} does not hold nas-fpn itself, so every node must have it installed")
    sent = submit_when_ready(
        jobs,
        address,
        entrypoint=quoted(command),
        runtime_env=environment,
        submission_id=submission_id,
        entrypoint_num_cpus=0,
    )
    if not wait:
        typer.echo(sent)
        _say(_next_steps(sent, address))
        return 0
    _say(f"job {sent} on {address}: {quoted(command)}")
    return _follow(jobs, sent, address)


def _follow(jobs: Jobs, submission_id: str, address: str) -> int:
    try:
        end = follow(jobs, submission_id, lambda text: typer.echo(shown(text), nl=False))
    except KeyboardInterrupt:
        _say(f"\njob {submission_id} goes on\n{_next_steps(submission_id, address)}")
        return interruption.status()
    except ConnectionError as error:
        steps = _next_steps(submission_id, address).replace("\n", "; ")
        raise ClusterError(
            f"lost {without_credentials(address)} ({error}); job {submission_id} may go on; {steps}"
        ) from error
    if end.status == "SUCCEEDED":
        _say(f"job {submission_id} succeeded")
        return 0
    message = end.message.partition("last available logs")[0].strip().rstrip(",")
    _say(f"job {submission_id} {end.status.lower()}: {message}\nonce that is mended, the same command goes on")
    return 1


def _next_steps(submission_id: str, address: str) -> str:
    """Commands to follow and to stop a job."""
    job, place = shlex.quote(submission_id), shlex.quote(address)
    return f"follow: ray job logs {job} --follow --address {place}\nstop: ray job stop {job} --address {place}"


def _say(text: str) -> None:
    """On standard error, so that standard output is the log alone."""
    typer.secho(shown(text), err=True, dim=True)

"""Job that is sent to the cluster: the command of a search, its files and its environment."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nas.credentials import has_credentials, without_credentials
from nas.errors import UserError
from nas.runs.remote.files import is_url

EXCLUDES = (
    "/runs",
    "/data",
    "/build",
    "/dist",
    "/site",
    "*.egg-info",
    ".*_cache",
    ".hypothesis",
    ".venv",
    "venv",
    ".git",
)
"""Patterns of `.gitignore`, beside the `.gitignore` of the directory itself: results, data, what can be made again."""


class JobError(UserError):
    """A job that cannot be sent as asked; the message says what to do."""


def search_command(
    experiment: str,
    run_dir: str,
    *,
    trials: int | None = None,
    controller: str | None = None,
    workers: int | None = None,
    assignments: Sequence[str] = (),
) -> list[str]:
    """The words of a search on the cluster that it is started on.

    Raises:
        JobError: if `run_dir` is relative, or a URL among the words holds a password.
    """
    require_lasting(run_dir)
    command = ["python", "-m", "nas.cli", "search", experiment, "--address", "auto", "--run-dir", run_dir]
    for option, value in (("--trials", trials), ("--controller", controller), ("--workers", workers)):
        if value is not None:
            command += [option, str(value)]
    for assignment in assignments:
        command += ["--set", assignment]
    for word in command:
        refuse_credentials(word)
    return command


def refuse_credentials(word: str) -> None:
    """
    Raises:
        JobError: if a word of a command, or of a job's environment, has a URL with a password or a key.
    """
    if has_credentials(word):
        raise JobError(
            f"{without_credentials(word)} holds a password or a key, and would be seen on Ray's dashboard and in "
            "manifests: leave it out, and let the cluster's machines have it from a role, a file such as ~/.pgpass or "
            "~/.aws/credentials, or a secret of the cluster"
        )


def require_lasting(run_dir: str) -> None:
    """
    Raises:
        JobError: if `run_dir` is relative: a job runs in a copy of the working directory that Ray deletes.
    """
    if not is_url(run_dir) and not PurePosixPath(run_dir).is_absolute():
        raise JobError(
            f"--run-dir {run_dir} is relative, and a job's directory is a temporary copy that is deleted afterwards; "
            "give an absolute path on storage that outlives the head, such as /shared/runs/signs, or a URL such as s3://..."
        )


def runtime_env(working_dir: str, variables: Sequence[str]) -> dict[str, Any]:
    """Ray's runtime environment of the job; `variables` are NAME=VALUE.

    Raises:
        JobError: if there is no such directory, a variable is not written as NAME=VALUE, or a URL holds a password.
    """
    refuse_credentials(working_dir)
    environment = dict(_variable(text) for text in variables)
    if is_url(working_dir):
        return {"working_dir": working_dir, "env_vars": environment}
    if not Path(working_dir).is_dir():
        raise JobError(f"--working-dir {working_dir} is not a directory; give the directory of the experiment")
    return {"working_dir": working_dir, "excludes": list(EXCLUDES), "env_vars": environment}


def authentication_mode() -> dict[str, str]:
    """This process's authentication mode, as a variable of a job on a cluster that asks for a token.

    The search then speaks to the cluster as its user does. The token does not go along: the cluster has it. One without
    a token could not start the job's process, since that would look for its token.
    """
    return {name: value for name, value in os.environ.items() if name == "RAY_AUTH_MODE"}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise JobError(f"write --env NAME=VALUE, got {without_credentials(text)!r}")
    refuse_credentials(text)
    return name, value


def require_experiment(experiment: str, working_dir: str) -> None:
    """
    Raises:
        JobError: if the experiment is a file that does not travel with the working directory.
    """
    place, _, function = experiment.rpartition(":")
    if not place or not function:
        raise JobError(f"an experiment is module:function or file.py:function, got {experiment!r}")
    inside = is_url(working_dir) or Path(place).is_absolute() or (Path(working_dir) / place).is_file()
    if place.endswith(".py") and not inside:
        raise JobError(
            f"no file {place} in {working_dir}; name it relative to --working-dir, which is sent to the cluster"
        )


def holds_project(working_dir: str) -> bool:
    """True if the directory has nas-fpn itself, so that the cluster need not have it installed."""
    try:
        project = tomllib.loads((Path(working_dir) / "pyproject.toml").read_text()).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return bool(project.get("name") == "nas-fpn")


def quoted(command: Sequence[str]) -> str:
    """One line for a shell."""
    return shlex.join(command)

"""Clusters that ask nobody for a token."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled

from nas.workers.private_ray import private_directory

_log = logging.getLogger(__name__)

STRANGER = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1], cluster_id=sys.argv[2]).internal_kv_keys(b"", namespace=None, timeout=5)
"""
"""Status 0 if a cluster shows its keys to a process without a token. Ray does not retry what has the cluster's id."""

STRANGER_SECONDS = 30


def warn(address: str) -> None:
    """One line on a cluster without a token: what that means, and what to do."""
    _log.warning(
        "the Ray cluster at %s asks for no token, so whoever reaches its ports can run code on its machines as the "
        "user that Ray runs as; start all its nodes with RAY_AUTH_MODE=token and one token (see docs/security.md), "
        "or let nobody else reach its ports",
        address,
    )


def warn_if_open() -> None:
    """Warn about the cluster that this process is connected to, if it takes processes without a token."""
    if private_directory() is None and _is_open():
        warn(ray.get_runtime_context().gcs_address)


def _is_open() -> bool:
    """A process without a token knows by having been let in; one with a token is let in by open clusters as well."""
    if not is_token_auth_enabled():
        return True
    gcs = ray._private.worker.global_worker.gcs_client
    asked = subprocess.run(
        [sys.executable, "-c", STRANGER, gcs.address, gcs.cluster_id.hex()],
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=STRANGER_SECONDS,
        check=False,
    )
    return asked.returncode == 0

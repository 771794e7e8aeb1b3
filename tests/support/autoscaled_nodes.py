"""A Ray cluster on this machine whose autoscaler starts and ends made-up machines."""

from __future__ import annotations

import json
from typing import Any

from tests.support.ray_nodes import UNPROTECTED, RayNodes

HEAD_ID = 51 * "f" + "00000"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""Named as a provider of the user's own: the file of settings that it wants by its own name is not in Ray's wheel."""


class AutoscaledNodes(RayNodes):
    """A head without CPUs, and from none to `most` machines with one CPU each, idle ones ended after six seconds.

    `AutoscalingCluster` of Ray's is not used: it starts with `ray stop --force`, which ends everybody's Ray.
    """

    def __init__(self, most: int, *, second_version: bool = True) -> None:
        self._most = most
        self._second_version = second_version
        super().__init__(workers=0, auth=UNPROTECTED)

    @property
    def machines(self) -> int:
        """Machines that are there, the head not counted."""
        return self._alive() - 1

    def environment(self) -> dict[str, str]:
        return super().environment() | {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}

    def _node_environment(self) -> dict[str, str]:
        if not self._second_version:
            return {}
        identity = {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
        return {"RAY_enable_autoscaler_v2": "1", **identity}

    def _head_options(self) -> str:
        file = self.home / "autoscaler.json"
        file.write_text(json.dumps(self._config()))
        return f" --autoscaling-config={file}"

    def _config(self) -> dict[str, Any]:
        flags = (
            "launch_multiple",
            "use_node_id_as_ip",
            "disable_node_updaters",
            "disable_launch_config_check",
            "foreground_node_launch",
        )
        provider = {"type": "external", "module": PROVIDER, "gcs_address": self.gcs, "head_node_id": HEAD_ID}
        lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
        more = ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
        machine = {"CPU": 1, "object_store_memory": 10**8}
        return {
            "cluster_name": "autoscaled",
            "max_workers": self._most,
            "upscaling_speed": 10,
            "idle_timeout_minutes": 0.1,
            "provider": provider | dict.fromkeys(flags, True),
            "head_node_type": "ray.head.default",
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "worker": {"resources": machine, "node_config": {}, "min_workers": 0, "max_workers": self._most},
            },
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "file_mounts_sync_continuously": False,
            "rsync_filter": [],
            **{name: [] for name in (*lists, *more)},
        }

"""Manifests as rendered: they parse, hold what their readers need, and quote what the user gave."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from nas.cluster.job import JobError
from nasfpn.command import main
from nasfpn.manifests import FILES, Manifest, render

ODD = 'proxy.note="it\'s $HOME: #1"'
CLOUDS = ("aws", "gcp")


def odd(target: str) -> Manifest:
    return Manifest(
        target=target,
        workers=6,
        gpus_per_node=4,
        image="example/nas fpn:1",
        experiment="my search.py:f",
        run_dir="/shared/a b",
        assignments=(ODD,),
    )


def is_odd_search(words: list[str]) -> bool:
    end = ["--run-dir", "/shared/a b", "--workers", "24", "--set", "resources.gpus=1"]
    return (
        words[:5] == ["python", "-m", "nas.cli", "search", "my search.py:f"] and words[7:13] == end and words[-1] == ODD
    )


@pytest.mark.parametrize("target", FILES)
def test_no_placeholder_is_left_and_none_of_another_registry_or_machine(target):
    text = render(odd(target))
    assert not re.search(r"\$\{[a-z]", text)
    assert not re.search(r"(ghcr|quay|gcr|docker)\.io|/home/|/root|/work", text)


@pytest.mark.parametrize("target", CLOUDS)
@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_clouds_fit_rays_schema(target, gpus):
    from ray.autoscaler._private.util import fill_node_type_min_max_workers, fillout_defaults, validate_config

    config = yaml.safe_load(render(Manifest(target=target, workers=6, gpus_per_node=gpus)))
    config = fillout_defaults(config)
    validate_config(config)
    fill_node_type_min_max_workers(config)
    head, workers = (config["available_node_types"][name] for name in ("head", "gpu_spot"))
    assert head["resources"] == {"CPU": 0}
    assert "--num-cpus=0 --num-gpus=0" in config["head_start_ray_commands"][-1]
    assert (workers["min_workers"], workers["max_workers"], config["max_workers"]) == (0, 6, 6)
    assert workers["resources"]["GPU"] == gpus


def test_workers_are_spot_and_heads_are_not():
    aws = yaml.safe_load(render(Manifest(target="aws")))["available_node_types"]
    assert aws["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in aws["head"]["node_config"]
    gcp = yaml.safe_load(render(Manifest(target="gcp")))["available_node_types"]
    assert {"preemptible": True} in gcp["gpu_spot"]["node_config"]["scheduling"]
    assert "scheduling" not in gcp["head"]["node_config"]


@pytest.mark.parametrize("target", CLOUDS)
def test_clouds_tell_how_to_submit_and_keep_the_image(target):
    text = render(odd(target))
    assert yaml.safe_load(text)["docker"]["image"] == "example/nas fpn:1"
    submit = next(shlex.split(line.lstrip("# ")) for line in text.splitlines() if "nasfpn submit" in line)
    assert submit[-1] == ODD


def test_the_rayjob_has_what_kuberay_needs():
    job = yaml.safe_load(render(odd("kuberay")))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert is_odd_search(shlex.split(spec["entrypoint"]))
    assert spec["backoffLimit"] > 0
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 6)
    (worker,) = group["template"]["spec"]["containers"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert head["image"] == worker["image"] == "example/nas fpn:1"
    for pod in (cluster["headGroupSpec"], group):
        (volume,) = pod["template"]["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == "nas-fpn-shared"


def test_the_slurm_script_is_a_shell_script(tmp_path):
    path = tmp_path / "slurm.sh"
    path.write_text(render(odd("slurm")))
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--exclude=SC1091", str(path)], check=True)
    assert "#SBATCH --nodes=6\n" in path.read_text()
    assert "#SBATCH --gpus-per-node=4\n" in path.read_text()


def test_the_slurm_script_starts_the_search_on_every_node(tmp_path):
    """Slurm's commands are made up; everything else of the script runs."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{tmp_path}:$PATH"\n')
    for name, body in (
        ("srun", 'printf "%s\\n" "$@"; echo "$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}"'),
        ("hostname", "echo 10.0.0.1 10.1.0.1"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "slurm.sh").write_text(render(odd("slurm")))
    environment = {"PATH": "/usr/bin:/bin", "SLURM_JOB_NUM_NODES": "6"}
    done = subprocess.run(
        ["bash", "slurm.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words[:6] == ["--nodes=6", "--ntasks=6", "ray", "symmetric-run", "--address", "10.0.0.1:6379"]
    assert is_odd_search(words[words.index("--") + 1 : -1])
    assert words[-1] == "token 64"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "azure"}, "aws, gcp, kuberay, slurm"),
        ({"target": "aws", "gpus_per_node": 3}, "1, 4, 8"),
        ({"target": "slurm", "workers": 0}, "at least 1"),
        ({"target": "slurm", "gpus_per_node": 0}, "at least 1"),
        ({"target": "aws", "image": "a\nb"}, "cannot be printed"),
        ({"target": "kuberay", "run_dir": "runs/a"}, "is relative"),
    ],
)
def test_values_that_no_manifest_can_have(values, message):
    with pytest.raises(JobError, match=message):
        render(Manifest(**values))


def test_render_prints_or_writes_and_overwrites_nothing(tmp_path, monkeypatch, capsys):
    def nasfpn(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["nasfpn", "cluster", "render", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    assert nasfpn("kuberay", "--workers", "2") == 0
    text = capsys.readouterr().out
    assert text == render(Manifest(target="kuberay", workers=2))
    path = tmp_path / "job.yaml"
    assert nasfpn("kuberay", "--workers", "2", "--output", str(path)) == 0
    assert path.read_text() == text
    assert nasfpn("aws", "--output", str(path)) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_text() == text

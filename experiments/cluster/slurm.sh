#!/usr/bin/env bash
# A search on nodes of Slurm: sbatch slurm.sh. The same again goes on where it stopped, so that a requeued job does too.
# Lines with EDIT are yours. The file system of the run directory must be one that all nodes share.
#SBATCH --job-name=nas-fpn
#SBATCH --nodes=${workers}
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=${gpus}
#SBATCH --cpus-per-task=${cpus}
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=nas-fpn-%j.log
set -euo pipefail

source .venv/bin/activate # EDIT: where nas-fpn is installed, on every node

# Other users of the cluster can reach Ray's ports; the token keeps them out. Metrics would be shown without it.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_enable_metrics_collection=0
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# This script runs on the first node. EDIT if its first address is not of the network between the nodes.
read -r head _ <<< "$(hostname -I)"

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus=${cpus} --num-gpus=${gpus} -- \
    ${command}

#!/bin/bash
#SBATCH --job-name=es-grpo
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=48:00:00
#SBATCH --output=%x-%j.log
# Trains with ZeRO-3 on all nodes of a job, with one launch per node. output_dir must be on a file system that all nodes share:
#   sbatch recipes/slurm.sh recipes/qwen7b_es.py [--any_field value]
#   sbatch recipes/slurm.sh recipes/qwen7b_es.py --resume_from_checkpoint true
set -euo pipefail
config=${ACCELERATE_CONFIG:-accelerate_configs/zero3_multinode.yaml}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))
# --kill-on-bad-exit: if one launch fails, the others end, too
srun --kill-on-bad-exit=1 --label bash -c '
  exec accelerate launch --config_file "$0" \
    --num_machines "$SLURM_NNODES" --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$1" --main_process_port "$2" "${@:3}"
' "$config" "${nodes[0]}" "$port" "$@"

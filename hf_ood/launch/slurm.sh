#!/bin/bash
# sbatch hf_ood/launch/slurm.sh --config quickstart
#SBATCH --job-name=hf_ood
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue

# Two minutes before its end a job gets SIGTERM, and saves a checkpoint; queued again, it goes on from there.
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
  set -- "$@" --resume_from_checkpoint true
fi
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun bash -c "exec accelerate launch \
    --config_file hf_ood/launch/several_nodes.yaml \
    --num_machines $SLURM_NNODES \
    --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) \
    --machine_rank \$SLURM_NODEID \
    --main_process_ip $head_node \
    trainers/train.py $(printf '%q ' "$@")"

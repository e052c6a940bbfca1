#!/bin/bash
# sbatch hf_ood/launch/slurm.sh --config quickstart
#SBATCH --job-name=hf_ood
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue

# A requeued job goes on from its latest whole checkpoint: add --resume_from_checkpoint true by hand, or submit anew.
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun bash -c "accelerate launch \
    --config_file hf_ood/launch/several_nodes.yaml \
    --num_machines $SLURM_NNODES \
    --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) \
    --machine_rank \$SLURM_NODEID \
    --main_process_ip $head_node \
    trainers/train.py $(printf '%q ' "$@")"

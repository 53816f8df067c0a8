#!/usr/bin/env bash
# Train one dictionary on the GPUs of several nodes, then encode and annotate on their CPUs: sbatch recipes/slurm.sh
#SBATCH --job-name=cellprism
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=cellprism-%j.log
set -euo pipefail

# What to train on and how: set these in the environment, or here.
CELLS=${CELLS:?an .h5ad, .h5mu or .zarr that all nodes see}
REP=${REP:?obsm key of the embedding}
OUT=${OUT:?folder for what is made, seen by all nodes}
WIDTH=${WIDTH:-131072}
K=${K:-64}
EPOCHS=${EPOCHS:-1}
BATCH=${BATCH:-65536}
SHARDS=${SHARDS:-1} # processes over which one dictionary's features lie, where it does not fit one GPU
PER_NODE=${SLURM_GPUS_ON_NODE:-1}

mkdir -p "$OUT"
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# A process that is lost stops the others; torchrun begins again from the last state, as does the job when it is requeued.
if [ ! -e "$OUT/sae/sae.safetensors" ]; then
  srun --kill-on-bad-exit=1 torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$PER_NODE" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:${PORT:-29500}" \
    -m cellprism fit "$CELLS" --rep "$REP" --activation batchtopk --width "$WIDTH" --k "$K" --epochs "$EPOCHS" \
    --batch-size "$BATCH" --dictionary-shards "$SHARDS" --checkpoint "$OUT/state" -o "$OUT/sae"
fi

# Dask: a scheduler here, a worker on each node; all leave when this script does.
rm -f "$OUT/scheduler.json"
dask scheduler --scheduler-file "$OUT/scheduler.json" --no-dashboard &
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun dask worker --scheduler-file "$OUT/scheduler.json" --nthreads "${SLURM_CPUS_PER_TASK:-1}" --no-dashboard &

cellprism encode "$OUT/sae" "$CELLS" --rep "$REP" --dask "$OUT/scheduler.json" -o "$OUT/codes.npz" --overwrite
# Of further options of yours (--labels, --strata, --gene-sets), the last part of the call.
cellprism annotate "$OUT/codes.npz" "$CELLS" --rep "$REP" --dask "$OUT/scheduler.json" -o "$OUT/tables" --overwrite "$@"

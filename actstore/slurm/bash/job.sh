say() { printf '%s %s: %s\n' "$(date '+%F %T')" "$(uname -n)" "$*"; }

job="${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"

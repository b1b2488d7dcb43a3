retries="$logs/$stage-$job.retries" # how often this job failed, and when
phase='setup'
pid=''  # of what is running now
told='' # USR1: the time limit is near, or somebody preempts. TERM: SLURM ends this job.
signals=0

pass_on() {
    told=$1
    signals=$((signals + 1))
    if [ -n "$pid" ]; then kill -s USR1 "$pid" 2>/dev/null || true; fi
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM

# Runs a command where signals reach it, and returns how it ended.
attend() {
    local rc seen
    if [ -n "$told" ]; then return 75; fi
    "$@" &
    pid=$!
    if [ -n "$told" ]; then kill -s USR1 "$pid" 2>/dev/null || true; fi
    while :; do
        seen=$signals
        rc=0
        wait "$pid" || rc=$?
        if [ "$seen" = "$signals" ]; then break; fi # else it was a signal that ended the waiting
    done
    pid=''
    return "$rc"
}

requeue() {
    say "$1: back into the queue"
    if [ -n "$job" ] && scontrol requeue "$job"; then
        sleep 30 & # SLURM ends this shell before
        wait "$!"
        return
    fi
    sleep 1
    if [ "$told" = TERM ]; then return; fi # requeued, and ended together with scontrol
    say "ERROR: cannot requeue ${job:-what sbatch did not start}; submit it again"
}

# Whatever line the script ends at: the stage is done, goes back into the queue, or failed.
finish() {
    local rc=$1 count=0 state
    trap - EXIT
    set +e
    clean_up
    if [ "$rc" = 0 ]; then
        rm -f -- "$retries"
        say "stage $stage: done"
        exit 0
    fi
    state=$(squeue -h -j "${job:-0}" -o %T 2>/dev/null)
    if [ "$told" = TERM ] || [ "${state:-RUNNING}" != RUNNING ]; then
        say "stage $stage: cancelled, preempted or out of time (exit code $rc of $phase)"
    elif [ "$rc" = 75 ] || { [ "$told" = USR1 ] && [ "$rc" -gt 128 ]; }; then
        if [ "${SLURM_RESTART_COUNT:-0}" -lt "$max_requeues" ]; then
            requeue "stage $stage: stopped before its end"
        else
            say "ERROR: stage $stage is not done after $max_requeues requeues; submit it again"
        fi
    elif [ "$rc" -ge 2 ] && [ "$rc" -le 4 ]; then
        say "ERROR: stage $stage: exit code $rc of $phase, which trying again does not mend"
    else
        if [ -s "$retries" ]; then read -r count _ <"$retries"; fi
        if [ "$count" -lt "$max_retries" ]; then
            count=$((count + 1))
            printf '%s %s\n' "$count" "$(date +%s)" >"$retries"
            requeue "ERROR: stage $stage: exit code $rc of $phase, retry $count of $max_retries"
        else
            rm -f -- "$retries"
            say "ERROR: stage $stage: exit code $rc of $phase, after $count retries"
        fi
    fi
    exit "$rc"
}
trap 'finish "$?"' EXIT

# Each retry waits twice as long as the one before, counted from the failure.
wait_before_retry() {
    local count since left
    if [ ! -s "$retries" ]; then return 0; fi
    read -r count since <"$retries"
    left=$((since + retry_seconds * (1 << (count - 1)) - $(date +%s)))
    if [ "$left" -le 0 ]; then return 0; fi
    say "retry $count begins in $left seconds"
    attend sleep "$left"
}

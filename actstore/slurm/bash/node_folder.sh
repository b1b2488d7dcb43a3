# On every node $SCRATCH_FOLDER leads to a folder of this run of the job on the node's own disk.
# It has one name on all nodes, so that variables set here hold there: /tmp is what they all have.
# mkdir fails on what anybody put there before, and only a folder of our own is taken then.
export nodes_folder="/tmp/actstore-${job:-$$}"
export node_folder="$nodes_folder-${SLURM_RESTART_COUNT:-0}"
export SCRATCH_FOLDER="$node_folder/scratch"

gigabytes_free() { df -Pk -- "$1" | awk 'NR == 2 { print int($4 / 1048576) }'; }

remove_node_folder() {
    local folder="${1:-$node_folder}"
    if [ -L "$folder/scratch" ] && [ -O "$folder" ] && [ ! -L "$folder" ]; then
        rm -rf -- "$(readlink -- "$folder/scratch")"
    fi
    rm -rf -- "$folder"
}

make_node_folder() {
    local base run
    for ((run = 0; run < ${SLURM_RESTART_COUNT:-0}; run++)); do # one that was killed may be left
        remove_node_folder "$nodes_folder-$run"
    done
    if ! mkdir -m 700 -- "$node_folder"; then # two nodes of a simulated cluster are one machine
        [ -O "$node_folder" ] && [ ! -L "$node_folder" ]
        return
    fi
    for base in ${scratch:+"$scratch"} "${TMPDIR:-/tmp}" /tmp; do
        if [ ! -d "$base" ] || [ ! -w "$base" ]; then
            say "not used for temporary files: $base is no folder to write to"
        elif [ "$(gigabytes_free "$base")" -lt "$scratch_gigabytes" ]; then
            say "not used for temporary files: $base has less than $scratch_gigabytes GB free"
        else
            break
        fi
    done
    ln -s -- "$(mktemp -d -- "$base/actstore.XXXXXX")" "$SCRATCH_FOLDER"
    say "temporary files: $(readlink -- "$SCRATCH_FOLDER")"
}

clean_up() {
    if [ "$told" != TERM ]; then (on_each_node remove_node_folder); fi
    remove_node_folder
}

# On every node $SCRATCH_FOLDER leads to a folder of this job on the node's own disk.
export node_folder="/tmp/actstore-${job:-$$}"
export SCRATCH_FOLDER="$node_folder/scratch"

gigabytes_free() { df -Pk -- "$1" | awk 'NR == 2 { print int($4 / 1048576) }'; }

remove_node_folder() {
    if [ -L "$SCRATCH_FOLDER" ] && [ -O "$node_folder" ] && [ ! -L "$node_folder" ]; then
        rm -rf -- "$(readlink -- "$SCRATCH_FOLDER")"
    fi
    rm -rf -- "$node_folder"
}

make_node_folder() {
    local base
    remove_node_folder # of a run of this job that was killed
    mkdir -m 700 -- "$node_folder"
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

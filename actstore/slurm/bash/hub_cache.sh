# The hub cache is copied where it fits, and is read where it is on all other nodes.
stage_hub_cache() {
    local need free
    if [ -d "$hub_cache" ]; then
        need=$(($(du -sk -- "$hub_cache" | cut -f 1) / 1048576 + 1))
        free=$(gigabytes_free "$SCRATCH_FOLDER/")
        if [ $((need + scratch_gigabytes)) -le "$free" ]; then
            say "copying $need GB of $hub_cache"
            if cp -a -- "$hub_cache" "$SCRATCH_FOLDER/hub"; then return 0; fi
            rm -rf -- "$SCRATCH_FOLDER/hub"
        fi
        say "not copied: $hub_cache takes $need GB, and $free GB are free"
    fi
    ln -s -- "$hub_cache" "$SCRATCH_FOLDER/hub"
}

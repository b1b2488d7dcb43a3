#!/usr/bin/env bash
# Install what the SLURM tests need, where this is Debian or Ubuntu and we are root; else say so.
# Ends with 0 either way: the tests that need a SLURM are then skipped, and say that they were.
set -euo pipefail

packages=()
command -v munged >/dev/null || packages+=(munge)
command -v slurmctld >/dev/null || packages+=(slurmctld)
command -v slurmd >/dev/null || packages+=(slurmd)
command -v sbatch >/dev/null || packages+=(slurm-client)
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "SLURM tests need ${packages[*]}: apt-get install them as root. THESE TESTS WILL BE SKIPPED." >&2
    exit 0
fi

# 101 keeps the packages from starting daemons of their own; the tests start theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() { timeout 600 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
install 2>/dev/null || { timeout 300 apt-get update -qq && install; } || {
    echo "Could not install ${packages[*]}. THE SLURM TESTS WILL BE SKIPPED." >&2
}

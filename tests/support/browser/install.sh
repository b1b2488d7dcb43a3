#!/usr/bin/env bash
# Install the Chromium that the report is opened in, where this is Debian and we are root; else say so.
# Ends with 0 either way: the tests that need it are then skipped, and say that they were.
set -euo pipefail

command -v chromium >/dev/null && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Tests of the report need chromium: apt-get install it as root. THESE TESTS WILL BE SKIPPED." >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
install() { timeout 600 apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
install 2>/dev/null || { timeout 300 apt-get update -qq && install; } || {
    echo "Could not install chromium. THE TESTS OF THE REPORT IN A BROWSER WILL BE SKIPPED." >&2
}

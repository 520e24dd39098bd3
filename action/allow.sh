#!/bin/bash
# Lets unprivileged processes make user namespaces where Ubuntu 23.10 and later forbid it. SBX_SYSCTL is the directory
# of the settings, for tests.
set -euo pipefail

name=apparmor_restrict_unprivileged_userns
file="${SBX_SYSCTL:-/proc/sys/kernel}/$name"
[ -e "$file" ] || exit 0
[ "$(cat "$file")" != 0 ] || exit 0
if [ -w "$file" ]; then
    echo 0 >"$file"
else
    sudo -n sysctl -q -w "kernel.$name=0"
fi

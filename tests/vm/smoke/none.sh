#!/bin/sh
# mode: none
# No cgroup file system at all.
set -eu
. /vm/lib.sh
equal "mounts of cgroups" 0 "$(grep -c ' cgroup' /proc/mounts || :)"
[ ! -e /sys/fs/cgroup/cgroup.procs ] || fail "cgroups are mounted"
echo "none: no cgroup is mounted"

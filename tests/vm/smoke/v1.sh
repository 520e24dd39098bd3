#!/bin/sh
# mode: v1
# Only cgroup v1, every controller in a hierarchy of its own.
set -eu
. /vm/lib.sh

[ ! -e /sys/fs/cgroup/cgroup.controllers ] || fail "cgroup v2 is there"
equal "mounts of cgroup2" 0 "$(grep -c ' cgroup2 ' /proc/mounts || :)"
for controller in cpuset cpu,cpuacct blkio memory devices freezer pids; do
    [ -e "/sys/fs/cgroup/$controller/tasks" ] || fail "no hierarchy for $controller"
done

group=/sys/fs/cgroup/memory/limited
mkdir "$group"
echo 16M >"$group/memory.limit_in_bytes"
status=0
sh -c "echo 0 >$group/tasks; exec tail -n 1 /dev/zero" || status=$?
equal "status of a memory hog" 137 "$status"
has "memory.oom_control" "oom_kill 1" "$(tr '\n' ' ' <"$group/memory.oom_control")"
rmdir "$group"

group=/sys/fs/cgroup/pids/limited
mkdir "$group"
echo 2 >"$group/pids.max"
if sh -c "echo 0 >$group/tasks; sleep 1 & sleep 1 & wait" 2>/dev/null; then
    fail "pids.max does not hold"
fi
echo "v1: limits hold; memory.memsw: $([ -e /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes ] && echo yes || echo no)"

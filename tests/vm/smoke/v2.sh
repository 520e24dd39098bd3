#!/bin/sh
# mode: v2
# Only cgroup v2, as root in the root cgroup: limits hold, nothing is enabled beforehand.
set -eu
. /vm/lib.sh

equal uid 0 "$(id -u)"
equal "own cgroup" 0::/ "$(cat /proc/self/cgroup)"
equal "mounts of cgroup v1" 0 "$(grep -c ' cgroup ' /proc/mounts || :)"
for controller in cpuset cpu io memory pids; do
    has "cgroup.controllers" "$controller" "$(cat /sys/fs/cgroup/cgroup.controllers)"
done
equal "subtree_control" "" "$(cat /sys/fs/cgroup/cgroup.subtree_control)"
[ -s "/opt/a file" ] || fail "the file given with --file is missing"

cd /sys/fs/cgroup
echo '+cpuset +cpu +io +memory +pids' >cgroup.subtree_control
mkdir limited
echo 16M >limited/memory.max
# tail keeps the last line, and there is but one.
status=0
sh -c 'echo 0 >limited/cgroup.procs; exec tail -n 1 /dev/zero' || status=$?
equal "status of a memory hog" 137 "$status"
equal "oom_kill" 1 "$(sed -n 's/^oom_kill //p' limited/memory.events)"
[ "$(cat limited/memory.peak)" -le 16777216 ] || fail "memory.peak is above the limit"

echo max >limited/memory.max
echo 3 >limited/pids.max
if sh -c 'echo 0 >limited/cgroup.procs; sleep 9 & sleep 9 & sleep 9 & wait' 2>/dev/null; then
    fail "pids.max does not hold"
fi
equal "pids.events" "max 1" "$(cat limited/pids.events)"
echo 1 >limited/cgroup.kill
tries=0
until grep -q '^populated 0' limited/cgroup.events; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || fail "cgroup.kill left something"
    sleep 0.1
done
echo "$(cat /sys/block/vda/dev) rbps=1048576" >limited/io.max
echo '50000 100000' >limited/cpu.max
echo 0 >limited/cpuset.cpus
rmdir limited
echo "v2: limits hold on $(uname -r)"

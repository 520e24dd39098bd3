#!/bin/sh
# mode: v2-user
# A cgroup delegated to uid 1000: limits hold without root, and nothing above is writable.
set -eu
. /vm/lib.sh

cat >/opt/inside <<'END'
set -eu
. /vm/lib.sh
equal uid 1000 "$(id -u)"
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
case $own in /sys/fs/cgroup/delegated/run-*) ;; *) fail "in the cgroup $own" ;; esac
for controller in cpuset cpu io memory pids; do
    has "cgroup.controllers" "$controller" "$(cat "$own/cgroup.controllers")"
done
cd "$own"
refused +memory cgroup.subtree_control || fail "a cgroup with processes has taken a controller"
mkdir supervisor limited
echo 0 >supervisor/cgroup.procs
echo '+cpuset +cpu +io +memory +pids' >cgroup.subtree_control
echo 16M >limited/memory.max
status=0
sh -c 'echo 0 >limited/cgroup.procs; exec tail -n 1 /dev/zero' || status=$?
equal "status of a memory hog" 137 "$status"
equal "oom_kill" 1 "$(sed -n 's/^oom_kill //p' limited/memory.events)"
refused $$ /sys/fs/cgroup/cgroup.procs || fail "left the delegated tree"
refused max /sys/fs/cgroup/delegated/memory.max || fail "changed the limits of the delegated tree"
echo "v2-user: limits hold for uid $(id -u) in $own"
END
as_user_in_cgroup sh /opt/inside
if as_user sh -c 'echo 0 >/sys/fs/cgroup/delegated/cgroup.procs' 2>/dev/null; then
    fail "a process outside of the tree has entered it"
fi

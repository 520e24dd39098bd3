#!/bin/bash
# mode: systemd
# A login of uid 1000 under systemd: its own manager gives a delegated scope.
set -eu
. /vm/lib.sh

equal uid 1000 "$(id -u)"
equal "pid 1" systemd "$(cat /proc/1/comm)"
equal XDG_RUNTIME_DIR /run/user/1000 "$XDG_RUNTIME_DIR"
equal DBUS_SESSION_BUS_ADDRESS unix:path=/run/user/1000/bus "$DBUS_SESSION_BUS_ADDRESS"
case $(cat /proc/self/cgroup) in
0::/user.slice/user-1000.slice/session-*.scope) ;;
*) fail "not in a session scope: $(cat /proc/self/cgroup)" ;;
esac
if mkdir "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/mine" 2>/dev/null; then
    fail "the session scope is writable: nothing needs to be delegated"
fi

cat >/tmp/inside <<'END'
set -eu
. /vm/lib.sh
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
for controller in memory pids; do
    has "cgroup.controllers" "$controller" "$(cat "$own/cgroup.controllers")"
done
cd "$own"
mkdir supervisor limited
echo 0 >supervisor/cgroup.procs
echo '+memory +pids' >cgroup.subtree_control
echo 16M >limited/memory.max
status=0
sh -c 'echo 0 >limited/cgroup.procs; exec tail -n 1 /dev/zero' || status=$?
equal "status of a memory hog" 137 "$status"
equal "oom_kill" 1 "$(sed -n 's/^oom_kill //p' limited/memory.events)"
echo "systemd: limits hold in $own with: $(cat cgroup.controllers)"
END
systemd-run --user --scope -p Delegate=yes sh /tmp/inside

# Subordinate ids, by the set-user-id programs.
map=$(unshare --user --map-root-user --map-auto cat /proc/self/uid_map | xargs)
case $map in
"0 1000 1 1 100000 "*) ;;
*) fail "uid map: $map" ;;
esac

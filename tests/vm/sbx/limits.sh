#!/bin/sh
# Limits hold, the report says so, and no cgroup is left: in every mode that has
# a way to cgroups, each by its own: root, a delegated cgroup, systemd's scope, v1.
# shellcheck disable=SC2034,SC2154 # the variables of sbx.sh and lib.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)

# Each run in a delegated cgroup of its own, as `systemd-run --user --scope` would do. An empty leaf
# may stay there, since sbx cannot remove the cgroup it is in; nothing alive may.
own_cgroup() {
    own_status=0
    as_user_in_cgroup "$@" || own_status=$?
    find "$user_cgroup" -depth -type d -exec rmdir {} \;
    [ ! -e "$user_cgroup" ] || fail "something is alive in $user_cgroup"
    return "$own_status"
}

if [ "$mode" = v2-user ]; then
    # Without delegation a limit that is asked for is an error, never ignored.
    runner=as_user
    sandbox 'memory "32M"' true
    expect "no delegation" 125 '"kind":"setup_failed"'
    runner=own_cgroup
fi

case $mode in
v1 | hybrid) version=1 ;;
*) version=2 ;;
esac

sandbox '' true
expect "no limits" 0 '"kind":"exited"'

sandbox 'memory "32M"; pids 16' sh -c 'exit 9'
expect "within the limits" 9 '"kind":"exited"' "\"cgroup\":{\"version\":$version" '"weakened":[]'
equal "memory limit" 33554432 "$(number limit_bytes)"
# From here on: what one run makes for good, a parent say, is not made by the next one again.
before=$(cgroups)

sandbox 'memory "32M"' sh -c 'tail -n 1 /dev/zero'
expect "memory" 137 '"kind":"out_of_memory"'
[ "$(number peak_bytes)" -le 33554432 ] || fail "peak above the limit: $report"
# In v1 the kernel announces it before it kills, and sbx may be faster.
[ "$version" = 1 ] || [ "$(number oom_kills)" -ge 1 ] || fail "no kill reported: $report"

sandbox 'pids 8' sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done; wait'
[ "$(number denied_forks)" -ge 1 ] || fail "no fork was denied: $report"

sandbox 'memory "32M"; wall "1s"' sleep 60
expect "wall" 124 '"kind":"wall_timeout"'

sandbox 'memory "32M"' sh -c 'sleep 60 & exit 0'
expect "something left behind" 0 '"kind":"exited"'

# A controller that user managers do not get by default is an error, not ignored.
if [ "$mode" = systemd ]; then
    sandbox 'cpuset "0"' true
    expect "cpuset is not delegated" 125 '"kind":"setup_failed"'
    nodes='best-effort "cpuset"'
    sandbox 'cpuset "0"' true
    expect "cpuset at best effort" 0 '"feature":"cpuset"'
else
    sandbox 'cpu 0.5; cpuset "0"' sh -c 'exit 3'
    expect "cpu" 3 '"weakened":[]'
fi

# systemd removes a scope a moment after its last process.
tries=0
until [ "$(cgroups)" -le "$before" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || fail "cgroups before: $before, now: $(find /sys/fs/cgroup -type d)"
    sleep 0.1
done
echo "$mode: limits hold with sbx, uid $(id -u), on $(uname -r)"

#!/bin/sh
# mode: hybrid
# The controllers in v1, and a v2 hierarchy without any of them.
set -eu
. /vm/lib.sh

[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] || fail "no memory controller in v1"
[ -e /sys/fs/cgroup/unified/cgroup.procs ] || fail "no v2 hierarchy"
for controller in memory pids cpu io cpuset; do
    case " $(cat /sys/fs/cgroup/unified/cgroup.controllers) " in
    *" $controller "*) fail "$controller is in v2" ;;
    esac
done
echo "hybrid: v2 has only: $(cat /sys/fs/cgroup/unified/cgroup.controllers)"

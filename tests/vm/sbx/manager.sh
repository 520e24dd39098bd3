#!/bin/bash
# As root under systemd: sbx works below a group of its own, and systemd's tree stays
# as it was, also when systemd looks at it again.
# shellcheck disable=SC2154 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

tree() { find /sys/fs/cgroup -mindepth 1 -type d ! -path '/sys/fs/cgroup/sbx*' -name '*.*' ! -name 'systemd-*' | sort; }
own=$(cat /proc/self/cgroup)
sandbox 'memory "32M"' true
expect "first" 0 '"path":"/sys/fs/cgroup/sbx/sbx-'
before=$(tree)
enabled=$(cat /sys/fs/cgroup/cgroup.subtree_control)

home=$(mktemp -d)
printf 'rootfs "host"; limits { memory "48M"; pids 9; cpuset "0"; cpu 0.5; }\n' >"$home/spec.kdl"
sbx run --report "$home/report" "$home/spec.kdl" -- sleep 60 &
pid=$!
running() { test -n "$(groups)" && [ "$(wc -l <"$(groups)/cgroup.procs")" -ge 2 ]; }
until_true "the sandbox runs" running
systemctl daemon-reload
systemd-run --quiet --wait -p MemoryMax=64M -p CPUQuota=50% true
for pair in memory.max=50331648 pids.max=10 cpuset.cpus=0 'cpu.max=50000 100000'; do
    equal "${pair%%=*} after daemon-reload" "${pair#*=}" "$(cat "$(groups)/${pair%%=*}")"
done
kill "$pid"
wait "$pid" || :
rm -r "$home"

equal "own group" "$own" "$(cat /proc/self/cgroup)"
equal "systemd's groups" "$before" "$(tree)"
for controller in $enabled; do
    has "controllers of the root" "$controller" "$(cat /sys/fs/cgroup/cgroup.subtree_control)"
done
equal "failed units" "" "$(systemctl list-units --failed --plain --no-legend)"
equal "groups left" "" "$(groups)"
echo "systemd-root: systemd's tree is as it was"

#!/bin/sh
# `limits { cgroup PATH }`: the group is made there and nowhere else.
# shellcheck disable=SC2154 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)
case $mode in
v1)
    where=/sys/fs/cgroup/memory/mine
    for controller in memory pids cpu,cpuacct; do mkdir "/sys/fs/cgroup/$controller/mine"; done
    ;;
*)
    where=/sys/fs/cgroup/mine
    mkdir "$where"
    ;;
esac
for name in /mine "$where"; do
    sandbox "cgroup \"$name\"; memory \"32M\"" sh -c 'exit 4'
    expect "cgroup $name" 4 "\"path\":\"$where/sbx-" '"weakened":[]'
    sandbox "cgroup \"$name\"; memory \"32M\"" tail -n 1 /dev/zero
    expect "cgroup $name holds" 137 '"kind":"out_of_memory"'
done
equal "groups left" "" "$(groups)"

sandbox 'cgroup "/nowhere"; memory "32M"' true
expect "a parent that is not there" 125 '"kind":"setup_failed"' '/nowhere'
if [ "$mode" != v1 ]; then
    # No internal processes: a process sits in the group that is named.
    mkdir /sys/fs/cgroup/taken
    sleep 60 &
    sitter=$!
    echo "$sitter" >/sys/fs/cgroup/taken/cgroup.procs
    sandbox 'cgroup "/taken"; memory "32M"' true
    expect "a parent with processes" 125 '"kind":"setup_failed"' 'processesareinthegroup'
    kill "$sitter"
    wait "$sitter" 2>/dev/null || :
    rmdir /sys/fs/cgroup/taken
fi
find /sys/fs/cgroup -depth -type d -name mine -exec rmdir {} \;
echo "$mode: the group is made where the spec says"

#!/bin/sh
# SIGKILL of sbx at any moment: nothing of the sandbox lives on, and the groups go with
# the next run or with `sbx gc`.
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)
# The parent that a run makes for good is no leftover.
sandbox 'memory "32M"' true
before=$(cgroups)
home=$(mktemp -d)
printf 'rootfs "host"; limits { memory "32M"; pids 9; cpu 1; }\n' >"$home/spec.kdl"

# The sandbox that is still being built is a copy of sbx and holds its locks.
nobody() { ! ps | grep -q -e 'sleep 4[3]' -e 'sbx ru[n]'; }
a_group() { [ -n "$(groups)" ]; }
left=0
for moment in 0.02 0.05 0.08 0.11 0.14 0.17 0.2 0.25 0.3 0.6 made; do
    sbx run --report none "$home/spec.kdl" -- sh -c 'sleep 43 & setsid sleep 43 & sleep 43' &
    pid=$!
    # The last one is sure to leave a group, however slow the machine is.
    if [ "$moment" = made ]; then until_true "a group" a_group; else sleep "$moment"; fi
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    until_true "no process after SIGKILL at $moment" nobody
    [ -z "$(groups)" ] || left=$((left + 1))
    case $moment in
    *[02468]) sbx gc >/dev/null || fail "sbx gc" ;;
    *)
        sandbox 'memory "32M"; pids 9; cpu 1' true
        expect "the next run" 0 '"leftovers":[]'
        ;;
    esac
    equal "groups after SIGKILL at $moment" "" "$(groups)"
done

# Below a parent that the spec names as well, of which `sbx gc` knows nothing.
parents=
for place in /sys/fs/cgroup/memory /sys/fs/cgroup/pids /sys/fs/cgroup/cpu,cpuacct; do
    [ ! -d "$place" ] || parents="$parents $place/mine"
done
for place in ${parents:=/sys/fs/cgroup/mine}; do mkdir "$place"; done
printf 'rootfs "host"; limits { cgroup "/mine"; memory "32M"; pids 9; cpu 1; }\n' >"$home/given.kdl"
for who in gc run; do
    sbx run --report none "$home/given.kdl" -- sleep 43 &
    pid=$!
    until_true "a group below the given parent" a_group
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    until_true "no process after SIGKILL below a given parent" nobody
    [ -n "$(groups)" ] || fail "the kill left no group: the test tests nothing"
    case $who in
    gc) sbx gc >/dev/null || fail "sbx gc" ;;
    run) sbx run --report none "$home/given.kdl" -- true || fail "the next run" ;;
    esac
    equal "groups below a given parent after $who" "" "$(groups)"
done
for place in $parents; do rmdir "$place"; done
rm -r "$home"
[ "$left" -ge 1 ] || fail "no kill left a group: the test tests nothing"
equal cgroups "$before" "$(cgroups)"
echo "$mode: nothing is left of 11 killed runs ($left left a group for a while)"

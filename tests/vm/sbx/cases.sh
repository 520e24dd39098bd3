#!/bin/sh
# `sbx test` where a user has cgroups of its own: cases with limits beside each other, figures that are each case's
# alone, and nothing left, however it ends.
# shellcheck disable=SC2154 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)

home=$(mktemp -d)
cat >"$home/cases.sbx.kdl" <<'SPEC'
rootfs "host"
limits { memory "64M"; pids 16; cpu 2; wall "90s"; }
test "idle" { command "sleep" "1"; expect { memory below="16M"; cpu-time below="5s"; }; }
test "large" { command "dd" "if=/dev/zero" "of=/tmp/large" "bs=1M" "count=32"; expect { memory below="64M"; }; }
test "busy" { command "sh" "-c" "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"; }
test "too large" { command "dd" "if=/dev/zero" "of=/tmp/large" "bs=1M" "count=96"; expect { outcome "out_of_memory"; }; }
test "many" { command "sh" "-c" "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"; }
test "too slow" { command "sleep" "60"; limits { wall "1s"; }; expect { outcome "wall_timeout"; }; }
SPEC
i=0
while [ $i -lt 20 ]; do
    echo "test \"small $i\" { command \"true\"; expect { memory below=\"16M\"; }; }" >>"$home/cases.sbx.kdl"
    i=$((i + 1))
done
[ "$(id -u)" != 0 ] || chown -R 1000:1000 "$home"

# In v2-user each call in a delegated cgroup of its own, in which an empty leaf may stay: sbx is in it itself.
tests() {
    case $mode in
    v2-user)
        tests_status=0
        as_user_in_cgroup "$@" || tests_status=$?
        find "$user_cgroup" -depth -type d -exec rmdir {} \;
        [ ! -e "$user_cgroup" ] || fail "something is alive in $user_cgroup"
        return "$tests_status"
        ;;
    *) "$@" ;;
    esac
}
# report NAME: sets `report` to what was written of the case.
report() {
    report=$(tr -d ' ' <"$home/lines" | grep "\"name\":\"$1\"") || fail "no line for $1: $(cat "$home/said")"
}
no_scope() { ! systemctl --user list-units --all --plain --no-legend 'run-*.scope' | grep -q .; }

cd "$home"
export TMPDIR="$home"
tests sbx test -j4 --json cases.sbx.kdl >"$home/lines" 2>"$home/said" ||
    fail "status $?: $(cat "$home/said")"
equal "cases that passed" 26 "$(grep -c '"status":"passed"' "$home/lines")"
for name in idle large busy toolarge many tooslow small0 small19; do
    report "$name"
    has_part "$name" "$report" '"version":2' '"source":"memory.peak"' '"source":"cgroup2"' '"weakened":[]' '"leftovers":[]'
    equal "the limit of $name" 67108864 "$(number limit_bytes)"
done
report idle
between "the memory of idle" 1 16777216 "$(number peak_bytes)"
idle=$(used)
between "the time of idle" 1 5000000 "$idle"
report large
between "the memory of large" 33554432 67108864 "$(number peak_bytes)"
report busy
between "the time of busy" $((idle + 10000)) 100000000 "$(used)"
between "the memory of busy" 1 16777216 "$(number peak_bytes)"
report toolarge
between "what was killed in toolarge" 1 9 "$(number oom_kills)"
report many
between "the processes of many" 10 16 "$(sed -n 's/.*"pids":{[^}]*"peak":\([0-9]*\).*/\1/p' <<REPORT
$report
REPORT
)"
paths=$(tr -d ' ' <"$home/lines" | sed -n 's/.*"cgroup":{"version":2,"path":"\([^"]*\)".*/\1/p' | sort -u | wc -l)
equal "groups of their own" 26 "$paths"
equal "groups left" "" "$(groups)"
[ "$mode" != systemd ] || until_true "no scope left" no_scope

# SIGKILL in the middle: nothing lives on, and the groups go at the latest with the next call.
nobody() { ! ps x 2>/dev/null | grep -q -e 'sleep 6[0]' -e 'sbx tes[t]'; }
if [ "$mode" = systemd ]; then
    sbx test -j4 cases.sbx.kdl >/dev/null 2>&1 &
    pid=$!
    some() { [ -n "$(groups)" ]; }
    until_true "groups of cases" some
    sleep 0.3
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    until_true "no process after SIGKILL" nobody
    sbx test cases.sbx.kdl --filter small >/dev/null 2>&1 || fail "the next call: $?"
    equal "groups left by a killed call" "" "$(groups)"
    until_true "no scope left by a killed call" no_scope
fi
equal "files left" "" "$(find "$home" -mindepth 1 -maxdepth 1 -name 'sbx-*')"
cd /
rm -r "$home"
echo "$mode: 26 cases beside each other, each with its own figures"

#!/bin/bash
# A user session under systemd: a run with limits gets a scope, all passes through it,
# and nothing of it stays; a run without limits gets none.
# shellcheck disable=SC2034,SC2154 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

scopes() { systemctl --user list-units --all --plain --no-legend 'run-*.scope' | wc -l; }
none_left() { [ "$(scopes)" = "$before" ] && [ -z "$(groups)" ]; }
until_true "no scope of the tests before" test "$(scopes)" = 0
before=$(scopes)

sandbox '' sh -c 'exit 7'
expect "no limits, no scope" 7 '"cgroup":{"version":null'
sandbox 'memory "32M"; pids 9; cpu 0.5' sh -c 'exit 8'
expect "limits in a scope" 8 '.scope/sbx-' '"weakened":[]' '"source":"cgroup2"'
until_true "no scope left" none_left

home=$(mktemp -d)
printf 'rootfs "host"; limits { memory "32M"; }\n' >"$home/spec.kdl"
cd "$home"
# Standard streams, the working directory, a relative path and a descriptor pass through the scope.
printf 'in\n' | sbx run --report fd:3 spec.kdl -- sh -c 'cat; echo err >&2; exit 3' >out 2>err 3>report && status=0 || status=$?
equal status 3 "$status"
equal stdout in "$(cat out)"
equal stderr err "$(cat err)"
has_part "the report" "$(cat report)" '"exit_code":3' '"version":2'
sbx run --report stdout spec.kdl -- true >out
has_part "the report on stdout" "$(cat out)" '"schema":"sbx.report/1"'
# A spec that can be read only once is not lost on the way: its limit holds.
sbx run --report report - -- tail -n 1 /dev/zero <spec.kdl >/dev/null 2>&1 && status=0 || status=$?
equal "status of a spec on standard input" 137 "$status"
cat spec.kdl | sbx run --report report - -- tail -n 1 /dev/zero >/dev/null 2>&1 && status=0 || status=$?
equal "status of a spec in a pipe" 137 "$status"
bash -c 'sbx run --report report <(cat spec.kdl) -- tail -n 1 /dev/zero' >/dev/null 2>&1 && status=0 || status=$?
equal "status of a spec in a pipe with a name" 137 "$status"
mkfifo fifo
cat spec.kdl >fifo &
sbx run --report report fifo -- true 2>err && status=0 || status=$?
equal "status of a spec in a fifo" 125 "$status"
has_part "a spec in a fifo" "$(cat err)" "cannot be read a second time"

sbx run --report none spec.kdl -- printenv >out
if grep -q '^SBX_SCOPE' out; then fail "the guard of the scope is in the sandbox's environment"; fi

# A signal to the process that was started reaches the command; SIGKILL of it leaves nothing.
sbx run --report report spec.kdl -- sh -c 'trap "exit 12" TERM; while :; do sleep 0.1; done' &
pid=$!
running() { test -n "$(groups)" && [ "$(wc -l <"$(groups)/cgroup.procs")" -ge 2 ]; }
until_true "the sandbox runs" running
sleep 1
kill "$pid"
wait "$pid" && status=0 || status=$?
equal "status after SIGTERM" 12 "$status"
sbx run --report none spec.kdl -- sleep 49 &
pid=$!
until_true "the sandbox runs" running
kill -9 "$pid"
wait "$pid" 2>/dev/null || :
nobody() { ! pgrep -f 'sleep 4[9]' >/dev/null; }
until_true "no process after SIGKILL" nobody
until_true "no scope after SIGKILL" none_left
cd /
rm -r "$home"

# Not handed on by default: the drop-in is named, and it is refused before anything ran.
for limit in 'cpuset "0"' 'io "/" read="1M"'; do
    sandbox "$limit" true
    expect "$limit" 125 '"kind":"setup_failed"'
    has_part "$limit" "$said" "not delegated" /etc/systemd/system/user@.service.d Delegate=
done
until_true "no scope left at the end" none_left
echo "systemd: scopes come and go"

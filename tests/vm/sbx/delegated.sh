#!/bin/sh
# Delegated groups that are not quite as they should be.
# shellcheck disable=SC2034,SC2154 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

# A group right below the root, so that nothing above is the user's.
lone=/sys/fs/cgroup/lone
mkdir "$lone"
for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do chown 1000:1000 "$lone/$file"; done
in_lone() {
    # shellcheck disable=SC2016 # it is the other shell's
    sh -c 'echo 0 >/sys/fs/cgroup/lone/cgroup.procs && exec su -c "exec \"\$@\"" -- user sh "$@"' sh "$@"
}
runner=in_lone
sandbox 'memory "32M"; pids 9' sh -c 'exit 5'
expect "alone" 5 '"path":"/sys/fs/cgroup/lone/sbx-' '"weakened":[]'
rmdir "$lone"/*/
for controller in $(cat "$lone/cgroup.subtree_control"); do echo "-$controller" >"$lone/cgroup.subtree_control"; done

sleep 60 &
sitter=$!
echo "$sitter" >"$lone/cgroup.procs"
sandbox 'memory "32M"' true
expect "shared" 125 '"kind":"setup_failed"'
has_part "shared" "$said" "other processes are in the group" systemd-run
equal "groups left" "" "$(groups)"
[ ! -e "$lone/sbx-self" ] || fail "a leaf is left in a group that was refused"
nodes='best-effort "memory"'
sandbox 'memory "32M"' true
expect "shared at best effort" 0 '"feature":"memory"'
nodes=
kill "$sitter"
wait "$sitter" 2>/dev/null || :
rmdir "$lone"

# What the manager did not hand down is refused, the rest works.
mkdir "$lone"
echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
echo '-cpuset -io' >/sys/fs/cgroup/delegated/cgroup.subtree_control
echo '-cpuset -io' >/sys/fs/cgroup/cgroup.subtree_control
for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do chown 1000:1000 "$lone/$file"; done
sandbox 'cpuset "0"' true
expect "not handed down" 125 '"kind":"setup_failed"'
has_part "not handed down" "$said" cpuset "not delegated"
sandbox 'memory "32M"' true
expect "handed down" 0 '"weakened":[]'
rmdir "$lone"/*/ "$lone"

# Without a group the figures are those of wait4(2), with one the kernel's: both leave out what the
# sandbox cost, so `true` is about the same.
own_cgroup() {
    own_status=0
    as_user_in_cgroup "$@" || own_status=$?
    find "$user_cgroup" -depth -type d -exec rmdir {} \;
    return "$own_status"
}
# least RUNNER: the least time of `true` out of five, in microseconds.
least() {
    runner=$1
    least=999999999
    for _ in 1 2 3 4 5; do
        sandbox '' true
        [ "$(used)" -ge "$least" ] || least=$(used)
    done
}
least as_user
expect "without a group" 0 '"source":"rusage"'
alone=$least
least own_cgroup
expect "with a group" 0 '"source":"cgroup2"'
echo "v2-user: true takes $alone us by wait4, $least us by its group"
between "true in a group" $((alone / 3)) $((alone * 2 + 5000)) "$least"
equal "groups left" "" "$(groups)"
echo "v2-user: delegated groups"

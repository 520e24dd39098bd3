#!/bin/sh
# Hosts that withhold something: the message names the very switch, exit 125, nothing left.
# shellcheck disable=SC2016,SC2034,SC2154 # the variables of sbx.sh; `$` in single quotes is another shell's
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

# refuses WHAT PART...: the last run was refused, and said each of the parts.
refuses() {
    what=$1
    shift
    expect "$what" 125 '"kind":"setup_failed"'
    has_part "$what" "$said" "$@"
}

user_without() {
    runner=as_user
    sandbox "$@"
    runner=
}

switch=/proc/sys/user/max_user_namespaces
old=$(cat $switch)
echo 0 >$switch
user_without '' true
refuses "no user namespaces" user.max_user_namespaces
echo "$old" >$switch

switch=/proc/sys/kernel/unprivileged_userns_clone
echo 0 >$switch
user_without '' true
refuses "Debian's switch" kernel.unprivileged_userns_clone
echo 1 >$switch
user_without '' true
expect "with the switches on" 0

# without FILE VALUE LIMITS PART...: as root, while the file has the value.
without() {
    file=$1 old=$(cat "$1")
    echo "$2" >"$file"
    sandbox "$3" true
    echo "$old" >"$file"
    shift 3
    refuses "$file" "$@"
}
without /proc/sys/user/max_user_namespaces 0 '' user.max_user_namespaces
without /proc/sys/user/max_cgroup_namespaces 0 'memory "32M"' user.max_cgroup_namespaces
without /sys/fs/cgroup/cgroup.max.descendants 0 'memory "32M"' cgroup.max.descendants
equal "groups left" "" "$(groups)"

# Nothing can be said about cgroups, and nothing else is claimed.
no_proc() {
    unshare -m sh -c 'umount -l /proc && exec "$@"' sh "$@"
}
runner=no_proc
sandbox 'memory "32M"' true
refuses "no /proc" "no proc file system is mounted" "mount -t proc"
runner=

# A container's view, as Docker makes it.
read_only_cgroups() {
    unshare -m sh -c 'mount -o bind,remount,ro /sys/fs/cgroup && exec "$@"' sh "$@"
}
runner=read_only_cgroups
sandbox 'memory "32M"' true
refuses "read-only cgroups" read-only writable-cgroups
nodes='best-effort "memory"'
sandbox 'memory "32M"' true
expect "read-only cgroups at best effort" 0 '"feature":"memory"'
nodes=
sandbox '' true
expect "read-only cgroups without limits" 0

masked_proc() {
    unshare -m sh -c 'mount -t tmpfs none /proc/acpi && mount --bind /proc/sys /proc/sys && mount -o bind,remount,ro /proc/sys && exec "$@"' sh "$@"
}
masked_proc_as_user() {
    masked_proc su -c 'exec "$@"' -- user sh "$@"
}
runner=masked_proc_as_user
sandbox '' true
refuses "a masked /proc" /proc unmask
runner=masked_proc
sandbox '' true
refuses "a masked /proc as root" /proc unmask
runner=

equal "groups left" "" "$(groups)"
echo "hosts: what is withheld is named"

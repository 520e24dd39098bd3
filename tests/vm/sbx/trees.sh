#!/bin/sh
# Root directories on file systems that this kernel can map ids on (ext4) and cannot
# (tmpfs before Linux 6.3), as root and as a user.
# shellcheck disable=SC2016,SC2034,SC2154 # the variables of sbx.sh; `$` in single quotes is the sandbox's
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)
if [ "$mode" = v2-user ]; then runner=as_user; fi

# tree DIR: a root with nothing but busybox and a file of root's.
tree() {
    mkdir -p "$1/bin" "$1/etc"
    cp /bin/busybox "$1/bin/busybox"
    ln -sf busybox "$1/bin/sh"
    echo original >"$1/etc/file"
    chmod -R go+rX "$1"
    [ -z "$runner" ] || chown -R 1000:1000 "$1"
}

# try DIR: runs in it and writes.
try() {
    dir=$(mktemp -d)
    printf 'rootfs "%s"\n%s\n' "$1" "$nodes" >"$dir/spec.kdl"
    chmod -R 777 "$dir"
    status=0
    $runner sbx run --report "$dir/report" "$dir/spec.kdl" -- \
        /bin/sh -c 'busybox stat -c %u:%g /etc/file; busybox cat /etc/file; echo changed >/etc/file && echo new >/new && busybox cat /etc/file /new' \
        >"$dir/said" 2>&1 || status=$?
    said=$(cat "$dir/said")
    report=$(tr -d ' \n' <"$dir/report") || fail "no report; sbx said: $said"
    rm -rf "$dir"
}

for base in /opt /dev/shm; do
    tree "$base/root"
    # Without a map root's files are nobody's inside: they can be read, not written.
    case $mode:$base in
    v2:/dev/shm) wanted=1 ;;
    *) wanted=0 ;;
    esac
    try "$base/root"
    expect "root directory in $base" "$wanted" '"kind":"exited"'
    has_part "root directory in $base" "$said" original
    equal "the source in $base is never written to" original "$(cat "$base/root/etc/file")"
    [ ! -e "$base/root/new" ] || fail "the source in $base was written to"
    case $wanted in
    0) has_part "writing in $base" "$said" 0:0 changed new ;;
    *) has_part "no map in $base" "$said" warning "cannot map ids" 65534:65534 ;;
    esac
    rm -r "$base/root"
done
echo "$mode: root directories on ext4 and tmpfs, on $(uname -r)"

#!/bin/sh
# mode: systemd-root
# What this kernel can do, one line each; fails where it cannot do what a user of
# Debian 12 can rely on. In perl, since it has syscall() and is in every Debian.
set -eu
. /vm/lib.sh

equal uid 0 "$(id -u)"
equal "own cgroup" 0::/system.slice/vm-script.service "$(cat /proc/self/cgroup)"
equal "root file system" ext4 "$(sed -n 's,^/dev/vda / \([^ ]*\) .*,\1,p' /proc/mounts)"
echo "kernel: $(uname -r)"
echo "lsm: $(cat /sys/kernel/security/lsm)"
echo "unprivileged_userns_clone: $(cat /proc/sys/kernel/unprivileged_userns_clone)"

perl -e '
    my ($abi) = syscall(444, 0, 0, 1);
    die "landlock: $!\n" if $abi < 1;
    print "landlock abi: $abi\n";'

# overlay_as_user DIR: an overlay mounted in a user namespace of uid 1000.
overlay_as_user() {
    rm -rf "$1/ov"
    install -d -o user -g user "$1/ov"
    (cd / && DIR=$1/ov runuser -u user -- sh -c '
        cd "$DIR" && mkdir lower upper work merged && echo lower >lower/file &&
        unshare --user --map-root-user --mount sh -c "
            mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay merged &&
            echo upper >merged/file && mkdir merged/new && rm merged/file"') 2>&1 &&
        test -c "$1/ov/upper/file"
}
install -d /opt/ext4
overlay_as_user /opt/ext4 || fail "no overlay in a user namespace on ext4"
echo "overlay in userns, on ext4: yes"
if why=$(overlay_as_user /dev/shm); then why=yes; fi
echo "overlay in userns, on tmpfs: $why"

# idmap PATH: attaches an id-mapped copy of the mount of PATH at /mnt (0 becomes 100000).
idmap() {
    perl -e '
        my $path = shift;
        pipe(my $ready, my $tell); pipe(my $stay, my $end);
        my $pid = fork();
        if (!$pid) { syscall(272, 0x10000000) == 0 or die "unshare: $!\n"; close $end; syswrite $tell, "x"; sysread $stay, my $x, 1; exit }
        sysread $ready, my $x, 1;
        for (["uid_map", "0 100000 65536"], ["gid_map", "0 100000 65536"]) {
            open(my $map, ">", "/proc/$pid/$_->[0]") or die "$_->[0]: $!\n"; syswrite $map, $_->[1];
        }
        open(my $ns, "<", "/proc/$pid/ns/user") or die "ns: $!\n";
        my $tree = syscall(428, -100, $path, 1); # OPEN_TREE_CLONE
        die "open_tree: $!\n" if $tree < 0;
        my $attr = pack("Q4", 0x100000, 0, 0, fileno $ns); # MOUNT_ATTR_IDMAP
        my $empty = "";
        my $at = "/mnt";
        my $result = syscall(442, $tree, $empty, 0x1000, $attr, 32); # AT_EMPTY_PATH
        my $error = $!;
        close $stay; close $end; waitpid $pid, 0;
        die "mount_setattr: $error\n" if $result != 0;
        syscall(429, $tree, $empty, -100, $at, 4) == 0 or die "move_mount: $!\n";' "$1" 2>&1
}
idmap /opt || fail "no id-mapped mount on ext4"
equal "owner through an id-mapped mount" 100000 "$(stat -c %u /mnt/ext4)"
umount /mnt
echo "id-mapped mount, ext4: yes"
for path in /dev/shm /proc/sys; do
    if why=$(idmap "$path"); then
        umount /mnt
        why=yes
    fi
    echo "id-mapped mount, $(stat -f -c %T "$path"): $why"
done

install -d /opt/overlay/lower /opt/overlay/upper /opt/overlay/work
echo x >/opt/overlay/lower/file
idmap /opt/overlay/lower || fail "no id-mapped mount on ext4"
install -d /opt/overlay/merged
mount -t overlay -o lowerdir=/mnt,upperdir=/opt/overlay/upper,workdir=/opt/overlay/work overlay /opt/overlay/merged
equal "owner through an overlay of an id-mapped layer" 100000 "$(stat -c %u /opt/overlay/merged/file)"
echo "overlay of an id-mapped layer: yes"
umount /opt/overlay/merged /mnt

for namespace in user mnt pid net ipc uts cgroup time; do
    [ -e "/proc/self/ns/$namespace" ] || fail "no namespace $namespace"
done
cd /sys/fs/cgroup/system.slice
for file in memory.peak memory.oom.group memory.reclaim cgroup.kill pids.peak cpu.pressure io.stat memory.swap.peak; do
    echo "$file: $([ -e "vm-script.service/$file" ] && echo yes || echo no)"
done
echo "seccomp actions: $(cat /proc/sys/kernel/seccomp/actions_avail)"

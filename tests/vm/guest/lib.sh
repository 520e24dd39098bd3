# shellcheck shell=dash
# Functions for scripts that run in the test machine: `. /vm/lib.sh`.
# Plain sh, since busybox is the only shell in most modes.

# fail MESSAGE...: ends the script with status 1.
fail() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}

# equal WHAT WANTED GOT
equal() {
    [ "$2" = "$3" ] || fail "$1: wanted \`$2\`, got \`$3\`"
}

# has WHAT WORD LINE: the word is one of the words of the line.
has() {
    case " $3 " in
    *" $2 "*) ;;
    *) fail "$1: no \`$2\` in \`$3\`" ;;
    esac
}

# refused VALUE FILE: the kernel does not take the value. In a shell of its own: busybox keeps what
# its echo could not write and sends it with the next one.
refused() {
    ! sh -c 'echo "$1" >"$2"' sh "$1" "$2" 2>/dev/null
}

# as_user COMMAND [ARGUMENT...]: as uid 1000 without privileges, in the cgroup of the caller.
# Not in the systemd modes.
as_user() {
    # Without `--` busybox takes the options of the command for its own.
    su -c 'export XDG_RUNTIME_DIR=/run/user/1000; exec "$@"' -- user sh "$@"
}

# as_user_in_cgroup COMMAND [ARGUMENT...]: as uid 1000 in a new cgroup which that user owns, below
# /sys/fs/cgroup/delegated, which it owns as well: what `systemd-run --user --scope -p Delegate=yes`
# gives, with all of cpuset, cpu, io, memory, pids. Mode v2-user only. Sets `user_cgroup` to its path.
as_user_in_cgroup() {
    user_cgroup=$(mktemp -d /sys/fs/cgroup/delegated/run-XXXXXX) || fail "no delegated cgroup (mode v2-user only)"
    chmod 755 "$user_cgroup"
    for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do
        chown 1000:1000 "$user_cgroup/$file"
    done
    # No shell may stay behind in it: the command is to be its only process.
    sh -c 'echo 0 >"$0/cgroup.procs" && exec su -c "export XDG_RUNTIME_DIR=/run/user/1000; exec \"\$@\"" -- user sh "$@"' \
        "$user_cgroup" "$@"
}

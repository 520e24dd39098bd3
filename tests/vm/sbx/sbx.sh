# shellcheck shell=dash
# Functions for scripts that try the real program: `. /vm/sbx/sbx.sh`, after lib.sh.

# To be set before a call of `sandbox`: more nodes for the spec, and a function that starts sbx.
nodes=
runner=

# sandbox LIMITS [COMMAND [ARGUMENT...]]: runs it in the host's file system with the given nodes of
# `limits`. Sets `status`; the report, without blanks, is in `report`, what was said in `said`.
sandbox() {
    dir=$(mktemp -d) || fail "no temporary directory"
    printf 'rootfs "host"\nlimits { %s }\n%s\n' "$1" "$nodes" >"$dir/spec.kdl"
    shift
    [ "$(id -u)" != 0 ] || chown -R 1000:1000 "$dir"
    status=0
    $runner sbx run --report "$dir/report" "$dir/spec.kdl" -- "$@" >"$dir/said" 2>&1 || status=$?
    said=$(cat "$dir/said")
    report=$(tr -d ' \n' <"$dir/report") || fail "no report; sbx said: $said"
    rm -rf "$dir"
}

# expect WHAT STATUS [JSON...]: the exit status, and parts of the report.
expect() {
    what=$1
    [ "$status" = "$2" ] || fail "$what: wanted status $2, got $status; report: $report; sbx said: $said"
    shift 2
    for part in "$@"; do
        case $report in
        *"$part"*) ;;
        *) fail "$what: no $part in the report: $report; sbx said: $said" ;;
        esac
    done
}

# number NAME: the number of that name in the report.
number() {
    printf '%s\n' "$report" | sed -n "s/.*\"$1\":\([0-9][0-9]*\).*/\1/p"
}

# cgroups: how many there are.
cgroups() {
    find /sys/fs/cgroup -type d 2>/dev/null | wc -l
}

# has_part WHAT TEXT PART...: each part is somewhere in the text.
has_part() {
    what=$1 text=$2
    shift 2
    for part in "$@"; do
        case $text in
        *"$part"*) ;;
        *) fail "$what: no $part in: $text; report: $report" ;;
        esac
    done
}

# between WHAT LEAST MOST NUMBER
between() {
    [ -n "$4" ] || fail "$1: not known; report: $report"
    { [ "$4" -ge "$2" ] && [ "$4" -le "$3" ]; } || fail "$1: $4 is not in $2..$3; report: $report"
}

# used: the processor time in the report, in microseconds.
used() {
    echo $((($(number user_ns) + $(number system_ns)) / 1000))
}

# groups: the groups of runs that are there.
groups() {
    find /sys/fs/cgroup -type d -name 'sbx-[0-9]*' 2>/dev/null
}

# until_true WHAT COMMAND...: for at most five seconds.
until_true() {
    what=$1
    shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail "waited in vain: $what"
        sleep 0.05
    done
}

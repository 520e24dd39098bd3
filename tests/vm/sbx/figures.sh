#!/bin/sh
# Each limit does what it says, and the figures are true: against the kernel's own
# count of the process, against what was touched, read, started.
# shellcheck disable=SC2016,SC2034,SC2154 # the variables of sbx.sh; `$` in single quotes is the sandbox's
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh
mode=$(cat /vm/mode)
v2() { [ "$mode" != v1 ]; }

# Burns one and a half seconds and prints what the kernel says of this process, in microseconds.
burn='c=0; while [ $c -lt 1500000000 ]; do i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; read c _ </proc/self/schedstat; done; echo $((c/1000))'

# What the process does after its last look is its own too, and takes long when the machine under
# the emulation is busy: one of three has to be true.
tries=0
while :; do
    sandbox 'memory "64M"; cpu 2' sh -c "$burn"
    expect "a busy loop" 0
    [ "$(used)" -ge $((said * 99 / 100)) ] || fail "processor time: $(used) us, the kernel says $said; $report"
    [ "$(used)" -gt $((said * 102 / 100)) ] || break
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || fail "processor time: $(used) us, the kernel says $said; $report"
done
echo "$mode: cpu $(used) us of $said us"

sandbox 'cpu 0.3' sh -c "$burn"
expect "throttled" 0
[ "$(number throttled_periods)" -ge 10 ] || fail "throttled_periods: $report"
[ "$(number throttled_ns)" -ge 1000000000 ] || fail "throttled_ns: $report"
between "share of a processor, in percent" 20 36 $(($(used) * 100000 / $(number wall_ns)))

sandbox 'memory "256M"' dd if=/dev/zero of=/dev/null bs=64M count=1
expect "touch 64M" 0
between "memory peak" 67108864 $((67108864 * 105 / 100)) "$(number peak_bytes)"
between "largest resident set" 67108864 $((67108864 * 105 / 100)) "$(number max_rss_bytes)"
echo "$mode: memory peak $(number peak_bytes) of 67108864"

# The whole sandbox goes at once, init and all; what is known stays true.
sandbox 'memory "32M"' sh -c 'sleep 60 & tail -n 1 /dev/zero; sleep 1; echo survived'
expect "out of memory" 137 '"kind":"out_of_memory"' '"killed_by":"kernel"'
case $said in *survived*) fail "the command outlived the limit" ;; esac
between "wall time of what ran out of memory" 1000000 60000000000 "$(number wall_ns)"
between "peak of what ran out of memory" 31000000 33554432 "$(number peak_bytes)"
[ "$(used)" -gt 10000 ] || fail "no processor time: $report"
! v2 || [ "$(number oom_kills)" -ge 3 ] || fail "not all were killed: $report"

dd if=/dev/zero of=/swap bs=1M count=96 2>/dev/null
mkswap /swap >/dev/null
chmod 600 /swap
swapon /swap
sandbox 'memory "32M"' dd if=/dev/zero of=/dev/null bs=64M count=1
expect "swap is forbidden" 137 '"kind":"out_of_memory"'
sandbox 'memory "32M" swap="64M"' dd if=/dev/zero of=/dev/null bs=64M count=1
expect "swap is allowed" 0
# v2 counts it since Linux 6.5; v1 only ever the sum with memory, whose peak is another moment's.
expect "a peak of swap that nobody counted" 0 '"swap_peak_bytes":null'
if v2; then
    sandbox 'memory "96M" high="16M" swap="64M"' sh -c 'head -c 33554432 /dev/zero | tail -n 1 >/dev/null'
    expect "the mark" 0
    between "peak with a mark" 15000000 24000000 "$(number peak_bytes)"
fi
swapoff /swap
rm /swap

sandbox 'pids 8' sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 9 & done; wait'
expect "pids" 2
equal "pids denied" 1 "$(number denied_forks)"
equal "pids peak" 8 "$(number peak)"
equal "pids left" 7 "$(number left_at_exit)"

sandbox 'cpuset "1"' sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status
expect "cpuset" 0
equal "processors" 1 "$said"

# Two that want all of one processor.
contest() {
    sandbox "cpu weight=$1; cpuset \"0\"; wall \"2s\"" sh -c 'while :; do :; done'
    used >"/tmp/weight-$1"
}
contest 900 &
contest 100 &
wait
between "what nine to one gives, in tenths" 35 150 $(($(cat /tmp/weight-900) * 10 / $(cat /tmp/weight-100)))

sandbox 'cpu-time "800ms"' sh -c 'for i in 1 2 3; do while :; do :; done & done; wait'
expect "cpu-time" 124 '"kind":"cpu_timeout"' '"killed_by":"sbx"'
between "processor time of four processes" 780000 1300000 "$(used)"
echo "$mode: cpu-time of 800 ms ended at $(used) us"

sandbox 'wall "700ms"' sh -c 'while :; do :; done'
expect "wall" 124 '"kind":"wall_timeout"' '"killed_by":"sbx"'
between "wall time" 600000000 1400000000 "$(number wall_ns)"

# Both at once exactly: nothing else reads with O_DIRECT.
mkdir -p /opt/data
chmod 777 /opt/data
dd if=/dev/zero of=/opt/data/two bs=1M count=2 2>/dev/null
sync
nodes='mounts { bind "/opt/data" "/data" access="rw"; }'
sandbox 'io "/opt/data/two" read="1M"' dd if=/data/two of=/dev/null bs=64k iflag=direct
expect "io" 0
equal "bytes read" 2097152 "$(number read_bytes)"
equal "reads" 32 "$(number read_ops)"
between "wall time of 2M at 1M a second" 900000000 4000000000 "$(number wall_ns)"
sandbox 'io "/opt/data" write="8M"' dd if=/dev/zero of=/data/new bs=64k count=16 oflag=direct
expect "io, written" 0
between "bytes written" 1048576 1200000 "$(number write_bytes)"
equal "owner outside" 0 "$(stat -c %u /opt/data/new)"
if v2; then
    sandbox 'memory "64M"' dd if=/data/two of=/dev/null bs=64k iflag=direct
    expect "io without a limit" 0
    equal "bytes read without a limit" 2097152 "$(number read_bytes)"
fi
rm -r /opt/data
nodes=

sandbox 'memory "64M"' cat /proc/self/cgroup
expect "cgroup namespace" 0
[ "$(printf '%s\n' "$said" | grep -cv ':/$' || :)" = 0 ] || fail "cgroup namespace: $said"
if v2; then
    expect "pressure" 0 '"cgroup":{"version":2,"path":"/sys/fs/cgroup/sbx-'
    for name in cpu_some_ns memory_some_ns memory_full_ns io_some_ns io_full_ns; do
        [ -n "$(number "$name")" ] || fail "pressure: $name is not known: $report"
    done

    # What cannot be seen from inside, in the files themselves.
    settings=$(mktemp -d)
    printf 'rootfs "host"; limits { memory "64M" high="48M" swap="8M"; cpu 0.5 weight=50; cpuset "0"; pids 9; io "/" read="4M" write-iops=99; }\n' >"$settings/spec.kdl"
    sbx run --report none "$settings/spec.kdl" -- sleep 60 &
    pid=$!
    started() { [ "$(cat "$(groups)/pids.current" 2>/dev/null)" = 2 ]; }
    until_true "two processes in the group" started
    group=$(groups)
    for pair in memory.max=67108864 memory.high=50331648 memory.swap.max=8388608 memory.oom.group=1 \
        'cpu.max=50000 100000' cpu.weight=50 cpuset.cpus=0 pids.max=10 \
        "io.max=$(cat /sys/block/vda/dev) rbps=4194304 wbps=max riops=max wiops=99"; do
        equal "${pair%%=*}" "${pair#*=}" "$(cat "$group/${pair%%=*}")"
    done
    kill "$pid"
    wait "$pid" || :
fi

equal "groups left" "" "$(groups)"
echo "$mode: the figures are true"

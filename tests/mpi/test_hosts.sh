#!/bin/bash
# Ranks on hosts of their own, with addresses and a network between (hosts.c): the same bits as from one process; a host that
# falls silent ends all; a signal saves once, and nothing stays behind whatever ends.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
hosts="$(dirname "$mdm")/tests/mpi/hosts"
"$hosts" 2 10 1000 true 2>err || {
    [ $? -eq 77 ] && echo "SKIP several hosts: $(head -n 1 err | cut -d: -f2-) (root and network namespaces are needed)" && exit 0
    fail "two hosts"
}
make_data
ln -s "$here/enter.sh" . # what mpirun takes for a command and its words
export TMPDIR=$dir # mpirun's own files
run="$common --batch 12 --sum-groups 4 --precision bf16 --steps 6"

on_hosts() { # N WORDS...: a rank on each of N hosts, 10 Gbit/s and 1 ms apart
    last="$1 hosts: mdm ${*:2}"
    local k list=
    for ((k = 1; k <= $1; k++)); do list+=,10.77.0.$k; done
    exec "$hosts" "$1" 10 1000 mpirun --mca plm_rsh_agent ./enter.sh --mca btl self,tcp --mca btl_tcp_if_include net0 \
        --mca oob_tcp_if_include net0 --mca odls_base_sigkill_timeout 2 -H "${list#,}" "$mdm" "${@:2}" >out 2>err
}

"$mdm" pretrain $run --out one >out 2>err || fail "one process"
for shard in none optimizer full; do
    (on_hosts 2 pretrain $run --shard $shard --out "two-$shard") || fail "2 hosts, $shard"
    same_state one "two-$shard"
done
grep -q 'in each of 2 processes, 1 of them on this host' err || fail "the ranks are not on hosts of their own"
(on_hosts 4 pretrain $run --shard full --out four) || fail "4 hosts"
same_state one four

# What lies between them is measured: no less than 1 ms, no more than 10 Gbit/s.
(on_hosts 2 plan --model tiny.json --length 32 --steps 1 --ranks 2) || fail "plan on 2 hosts"
sed -n 's/^network: \([0-9.]*\) GB\/s each way (measured between these ranks), latency \([0-9.]*\) us (measured .*/\1 \2/p' out | awk '{ n++; ok = $1 > 0 && $1 < 1.26 && $2 > 999 } END { exit !(n == 1 && ok) }' ||
    fail "plan on 2 hosts: not the network that there is"
grep -q '^overlap: computing loses [0-9]* % while something is on its way behind it (measured here)$' out || fail "plan on 2 hosts: not what computing loses"
[ "$(grep -c '^ranks' out)" -eq 1 ] || fail "plan on 2 hosts: not one table"

started() { for try in $(seq 300); do [ "$(cat "$1/metrics.csv" 2>/dev/null | wc -l)" -gt 3 ] && break; sleep 0.1; done; }
ended() { # SECONDS PATTERN: all whose command matches is gone
    local end=$((SECONDS + $1))
    while pgrep -f "$2" >/dev/null && [ $SECONDS -lt $end ]; do sleep 0.1; done
    ! pgrep -f "$2" >/dev/null
}
long="$common --batch 12 --sum-groups 4 --steps 100000"

# mpirun itself waits for its own process on that host: docs/distributed.md.
on_hosts 2 pretrain $long --out "$dir/silent" &
started silent
kill -USR1 $!
ended 30 "^$mdm .*$dir/silent" || fail "a host is silent: ranks go on"
[ "$(grep -c '^mdm: rank 1 on host2 gave its last sign of life' err)" -eq 1 ] || fail "a host is silent: not one line that says so"

# Whatever ends the switch, nothing stays behind.
kill -9 $!
wait $! 2>/dev/null
ended 5 "$dir/silent" || fail "the switch is killed: something stays behind"

on_hosts 2 pretrain $long --out "$dir/signalled" &
started signalled
kill -TERM $!
ended 40 "$dir/signalled" || { fail "SIGTERM: something goes on"; kill -9 $!; }
wait $!
[ "$(grep -c 'stopped after step' err)" -eq 1 ] || fail "SIGTERM: not one line that the run was stopped"
[ "$(ls signalled/checkpoint-* | wc -l)" -eq 1 ] || fail "SIGTERM: not one checkpoint"
exit $bad

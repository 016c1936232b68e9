#!/bin/bash
# mdm pretrain by several ranks: with --sum-groups the same bits from any number of them, without it nearly the same; what goes on
# with another number of ranks; what is refused; one signal and one message for all.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
make_data

# The same bits from 1, 2, 3, 4 and 8 ranks and any micro-batch; 5 sequences in the largest group of 8.
groups="$common --batch 36 --sum-groups 8 --steps 12 --precision bf16"
"$mdm" pretrain $groups --out one >out 2>err || fail "one process"
grep -q 'memory is short' err && fail "passes of one group are taken for a lack of memory"
for n in 2 8; do
    ranks $n pretrain $groups --micro-batch $((4 + n)) --out "by-$n" || fail "$n ranks"
    same_state one "by-$n"
    cmp -s <(cut -d, -f1-7 one/metrics.csv) <(cut -d, -f1-7 "by-$n/metrics.csv") || fail "metrics.csv of $n ranks differs"
done
[ "$(grep -c 'trained 12 steps' err)" -eq 1 ] || fail "not one rank alone speaks"
grep -q 'in each of 8 processes, 8 of them on this host' err || fail "the processes are not told"

# Four ranks; what one process, and then three ranks, make of their checkpoints.
ranks 4 pretrain $groups --save-every 4 --keep 9 --out moved || fail "4 ranks"
same_state one moved
rm moved/checkpoint-0000000[89]* moved/checkpoint-0000001* moved/model.safetensors
"$mdm" pretrain --out moved >out 2>err || fail "go on alone"
same_state one moved
rm moved/checkpoint-0000001* moved/model.safetensors
ranks 3 pretrain --out moved || fail "go on with 3 ranks"
grep -q 'resuming moved after step 8' err || fail "3 ranks did not go on"
same_state one moved

# Without groups the sums have other orders: losses agree to a bound.
"$mdm" pretrain $common --batch 8 --steps 10 --precision f32 --out plain >out 2>err || fail "plain"
ranks 3 pretrain $common --batch 8 --steps 10 --precision f32 --out plain-3 || fail "plain, 3 ranks"
paste -d, <(cut -d, -f4 plain/metrics.csv) <(cut -d, -f4 plain-3/metrics.csv) | awk -F, 'NR > 1 { n++; d = $1 / $2 - 1; if (d < -1e-5 || d > 1e-5) bad = 1 } END { exit bad || n != 10 }' ||
    fail "3 ranks: the losses are not those of one process"

# Within a step the bar says how far the step is: two passes of each rank, so halves.
cat >on_a_terminal <<'END'
#!/bin/bash
exec script -qefc "stty cols 300; exec ${*@Q}" "screen-$OMPI_COMM_WORLD_RANK"
END
chmod +x on_a_terminal
mpirun -n 2 ./on_a_terminal "$mdm" pretrain $common --batch 256 --micro-batch 64 --precision f32 --steps 1000000 --out bar >out 2>err &
pid=$!
for _ in $(seq 600); do [ "$(tr '\r' '\n' 2>err <screen-0 | grep -c '% of step')" -gt 3 ] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
tr '\r' '\n' <screen-0 | grep -o '[0-9]* % of step' | sort -u >out
out_is '50 % of step'

# What cannot be is one line, and leaves no folder.
refused() { # TEXT WORDS...: mpirun adds lines of its own
    ranks 2 "${@:2}" && fail "$last: not refused"
    [ "$(grep -c '^mdm' err)" -eq 1 ] && grep '^mdm' err | grep -qF -- "$1" || fail "$last: expected one line with '$1'"
}
refused "expected one for each of the 2 processes" pretrain $common --steps 3 --batch 4 --sum-groups 1 --out x
refused "--micro-batch 2 wants 4 groups" pretrain $common --steps 3 --batch 8 --sum-groups 2 --micro-batch 2 --out x
refused "nowhere" pretrain --model tiny.json --data nowhere --steps 3 --out x
refused "this command runs as one" inspect one
[ -e x ] && fail "a refused start leaves a folder"

# One signal saves once; the run goes on.
mpirun --mca odls_base_sigkill_timeout 2 -n 2 "$mdm" pretrain $groups --steps 100000 --out signalled >out 2>err &
pid=$!
for try in $(seq 200); do [ "$(cat signalled/metrics.csv 2>/dev/null | wc -l)" -gt 3 ] && break; sleep 0.1; done
"$mdm" pretrain --out signalled >out2 2>err2 && fail "two programs in one folder"
grep -q 'another program is at work' err2 || fail "no lock on the folder"
kill -TERM $pid
wait $pid
[ "$(grep -c 'stopped after step' err)" -eq 1 ] || fail "SIGTERM: not one line that the run was stopped"
[ "$(ls signalled/checkpoint-* | wc -l)" -eq 1 ] || fail "SIGTERM: not one checkpoint"
exit $bad

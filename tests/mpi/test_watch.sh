#!/bin/bash
# A rank that stands still ends all, with one line that says which; ranks that are killed at random moments do, and the run
# goes on to the same model. How many kills: KILLS (test_kills_long.sh: 50).
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
kills=${KILLS:-3}
make_data
run="$common --batch 12 --sum-groups 4 --precision f32 --save-every 2 --shard full"

rows() { cat "$1/metrics.csv" 2>/dev/null | wc -l; }
launch() { # N WORDS...: in the background; its process in `job`
    last="mpirun -n $1 mdm ${*:2}"
    mpirun -n "$1" "$mdm" "${@:2}" >out 2>err &
    job=$!
}
ended() { # SECONDS: the job has ended by then, or is ended here and now
    local end=$((SECONDS + $1))
    while kill -0 $job 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.05; done
    kill -0 $job 2>/dev/null || { wait $job; return 0; }
    kill -9 $(pgrep -P $job) $job
    wait $job 2>/dev/null
    return 1
}

for still in 0 1; do
    MDM_PATIENCE=2 launch 3 pretrain $run --steps 100000 --out "still-$still"
    for try in $(seq 200); do [ "$(rows "still-$still")" -gt 3 ] && break; sleep 0.05; done
    kill -STOP "$(pid_of $still $job)"
    ended 15 || fail "rank $still stands still: the others go on waiting"
    [ "$(grep -c "^mdm: rank $still on $(hostname) gave its last sign of life" err)" -eq 1 ] || fail "rank $still stands still: not one line that says so"
done

MDM_PATIENCE=soon ranks 2 pretrain $run --steps 1 --out x && fail "a patience that is no number"
[ "$(grep -c "MDM_PATIENCE is 'soon': expected seconds" err)" -eq 1 ] || fail "a patience that is no number: $(cat err)"

# Rank and moment of the kills are random.
steps=100 hits=0
"$mdm" pretrain $run --steps $steps --out one >out 2>err || fail "one process"
for ((k = 0; k < kills || (hits * 2 < kills && k < 4 * kills); k++)); do
    [ -e killed/model.safetensors ] && rm killed/model.safetensors killed/checkpoint-*
    ranks=$((2 + RANDOM % 3)) rank=$((RANDOM % ranks))
    launch $ranks pretrain $run --steps $steps --out killed
    # Not while mpirun is still starting them: Open MPI 4.1.4 may hang itself when a process dies then.
    for _ in $(seq 200); do [ -s err ] && break; sleep 0.05; done
    sleep 0.$((RANDOM % 900 + 100))
    victim=$(pid_of $rank $job)
    [ "$victim" ] && kill -9 $victim 2>/dev/null && hits=$((hits + 1))
    ended 30 || fail "kill $k: rank $rank of $ranks was killed, and the others go on"
    grep -qE "rank $rank (on|with PID)|trained $steps steps" err || [ -z "$victim" ] || fail "kill $k: rank $rank of $ranks is not named"
done
[ $((hits * 2)) -ge $kills ] || fail "only $hits of $k kills met a rank"
launch 3 pretrain $run --steps $steps --out killed
wait $job || fail "after $kills kills the run does not go on"
same_state one killed
ls killed | grep -q '\.tmp\.' && fail "temporary files are left"
exit $bad

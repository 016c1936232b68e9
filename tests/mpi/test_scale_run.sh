#!/bin/bash
# mdm scale run by several ranks: each takes trainings that nobody holds and trains them alone; they stop, fail and end together.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
make_data
check 0 scale plan --data data --out law --families mdm,arm --sizes 2 --around 80 --spread 6 --length 32 --batch 2 --budgets 1e10
[ "$(ls law/models | wc -l)" -eq 4 ] || fail "not four trainings"
cp -r law alone
check 0 scale run --out alone
without_times() { cut -d, -f1-7 "$1/points.csv"; }

ranks 2 scale run --out law || fail "2 ranks"
grep -q 'law/points.csv: 4 of 4 trainings are done$' out || fail "not all are done"
[ "$(grep -c ': loss [0-9.]* ± ' err)" -eq 4 ] || fail "rank 0 does not tell of all trainings"
cmp -s <(without_times alone) <(without_times law) || fail "other points: $(cat law/points.csv)"
for t in law/*/run; do same "alone/${t#law/}" "$t"; done
grep -q 'in each of' law/*/train.log && fail "a training takes itself for a rank"
[ "$(sed 's/.*process \([0-9]*\) .*/\1/' law/*/.lock | sort -u | wc -l)" -eq 2 ] || fail "one rank did all: $(cat law/*/.lock)"

# A training that is in another program's hands is left to it. What is done is not done again.
first=$(ls law/models | head -n 1) first=${first%.json}
rm -r "law/$first/run"
flock -n -o "law/$first/.lock" sh -c "echo process \$PPID on $(hostname) >law/$first/.lock; exec sleep 30" & holder=$!
sleep 0.3
ranks 3 scale run --out law || fail "3 ranks and another program"
grep -q '3 of 4 trainings are done; another program is at work on others' out || fail "another program's training: $(cat out)"
pkill -P $holder; wait $holder 2>/dev/null

# A signal to one rank stops the trainings of all: these would take hours.
stop_rank_1() { # FOLDER: two of its trainings are at work
    mpirun -n 2 "$mdm" scale run --out "$1" >out 2>err & pid=$!
    for try in $(seq 400); do [ "$(cat "$1"/*/run/metrics.csv 2>/dev/null | wc -l)" -gt 2 ] && [ "$(ls -d "$1"/*/run 2>/dev/null | wc -l)" -ge 2 ] && break; sleep 0.02; done
    kill -TERM "$(pid_of 1 $pid)"
    for try in $(seq 300); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done
    kill -TERM $pid 2>/dev/null && fail "$1: a signal to one rank, and another works on"
    wait $pid
}
check 0 scale plan --data data --out long --families mdm,arm --sizes 2 --around 80 --spread 6 --length 32 --batch 2 --budgets 1e14
stop_rank_1 long
[ $? -eq 143 ] || fail "stopped: expected status 143"
grep -q '0 of 4 trainings are done; the same command goes on' out || fail "not stopped: $(cat out)"
pgrep -f -- "--data $PWD/data" >/dev/null && fail "a training is still at work"

# The same command goes on, wherever short ones stood.
rm -rf law/*/run
stop_rank_1 law
ranks 2 scale run --out law || fail "after a stop"
for t in law/*/run; do same "alone/${t#law/}" "$t"; done

# One that fails ends all, with one line that says which and whose.
rm -rf law/*/run
echo '{' >"law/models/$first.json"
ranks 2 scale run --out law && fail "a training that fails"
[ "$(grep -c '^mdm scale' err)" -eq 1 ] && grep -q '^mdm scale run: rank [01] on ' err && grep -qF "on $(hostname): $first: the training ended with status 2; its last words are in law/$first/train.log" err || fail "a training that fails: not one line"
ranks 2 scale plan --data data --out x --budgets 1e10 && fail "scale plan by two ranks"
grep -q 'mdm scale plan: started as 2 processes, but this command runs as one' err || fail "scale plan by two ranks"
exit $bad

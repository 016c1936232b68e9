#!/bin/bash
# mdm scale plan and run: a small law from text to fit.json; a stop; a second program at work; damage.
. tests/cli/common.sh "$1"

for i in $(seq 1 300); do printf 'the %s dog number %d sees a %s cat\n\n' "$([ $((i % 3)) = 0 ] && echo red || echo blue)" "$i" "$([ $((i % 2)) = 0 ] && echo big || echo small)"; done >text.txt
check 0 tokenizer train --vocab 300 --out tokenizer.json text.txt
check 0 prepare --tokenizer tokenizer.json --out data --validation 0.2 text.txt
plan="scale plan --data data --out law --families mdm --sizes 3 --around 80 --spread 6 --length 32 --batch 2"

check 0 $plan --budgets 1e10,2e10
out_has "6 trainings, about"
[ "$(ls law/models | wc -l)" -eq 6 ] || fail "a config for each training: $(ls law/models)"
cp out planned
check 0 inspect law
out_has "law/plan.json: plan of a scaling law, 6 trainings"
grep -q -- '--' out && fail "settings of a plan look like options: $(cat out)"
mv planned out
first=$(awk 'NR == 2 { print $1 }' out)
# C = 6 N D: what a training has of tokens is within a step of its budget.
awk 'NR > 1 && /^mdm/ { split($1, p, "-"); c = 6 * $2 * $6 * 2 * 32; if (c > 2e10 || 6 * $2 * ($6 + 1) * 64 < 1e10) bad = 1 } END { exit bad }' out || fail "steps do not follow from the budgets"

# Stopped, it goes on; what is done is not done again.
"$mdm" scale run --out law >out 2>err &
pid=$!
for i in $(seq 200); do [ -s "law/$first/run/model.safetensors" ] && break; sleep 0.1; done
[ -s "law/$first/run/model.safetensors" ] || fail "the first training did not end"
kill -INT $pid; wait $pid
[ $? -eq 130 ] || fail "a stop should end with status 130"
pgrep -f -- "--data $PWD/data" >/dev/null && fail "a training is still at work"
stamp=$(stat -c %Y "law/$first/run/model.safetensors")
sleep 1.1
check 0 scale run --out law --jobs 2 --threads 6
[ "$(grep -l '"threads": 3' law/*/run/run.json | wc -l)" -ge 3 ] || fail "the threads of two trainings at once: $(grep threads law/*/run/run.json)"
out_has "law/points.csv: 6 of 6 trainings are done"
[ "$(stat -c %Y "law/$first/run/model.safetensors")" = "$stamp" ] || fail "a finished training was done again"
[ "$(wc -l <law/points.csv)" -eq 7 ] || fail "points.csv: $(cat law/points.csv)"
awk -F, 'NR > 1 && !($4 > 1 && $4 < 6 && $5 > 0 && $5 < 1) { bad = 1 } END { exit bad }' law/points.csv || fail "losses and their errors: $(cat law/points.csv)"
touch law/points.csv.tmp.0123456789abcdef
check 0 scale run --out law
out_has "6 of 6"
ls law/*.tmp.* >ls 2>&1 && fail "a half-written file stays: $(cat ls)"
# A signal to the whole group, as a terminal's Ctrl-C is: the program tells its training once more, which saves all the same. It
# stands still until it has both.
check 0 scale plan --data data --out group --families mdm --sizes 1 --around 80 --length 32 --batch 2 --budgets 2e12
setsid "$mdm" scale run --out group >out 2>err &
pid=$!
for i in $(seq 200); do [ "$(cat group/*/run/metrics.csv 2>/dev/null | wc -l)" -gt 2 ] && break; sleep 0.1; done
training=$(pgrep -P $pid)
grep -qx mdm "/proc/$training/comm" || fail "a process is called $(cat "/proc/$training/comm")"
kill -STOP "$training"
kill -INT -- -$pid
sleep 0.5
kill -CONT "$training"
wait $pid
[ $? -eq 130 ] || fail "a stop of the group should end with status 130"
grep -q '^stopped after step' group/*/train.log && ls group/*/run/checkpoint-* >out 2>&1 || fail "a stop of the group: the training did not save: $(cat group/*/train.log)"

# What fails behind a stop is no stop: it is named.
"$mdm" scale run --out group >out 2>err &
pid=$!
for i in $(seq 200); do training=$(pgrep -P $pid) && break; sleep 0.1; done
kill -STOP "$training"
kill -INT $pid
sleep 0.5
kill -KILL "$training"
wait $pid
[ $? -eq 2 ] || fail "a failure behind a stop should end with status 2"
grep -q '^mdm scale run: mdm-2e+12-.*: the training ended with status 137; its last words are in group/' err || fail "a failure behind a stop is not named"
# One that a second signal ends before it has saved is stopped, too.
"$mdm" scale run --out group >out 2>err &
pid=$!
for i in $(seq 200); do training=$(pgrep -P $pid -f -- --out\ group) && break; sleep 0.1; done
kill -STOP "$training"
kill -INT "$training"; kill -TERM "$training"
kill -CONT "$training"
wait $pid
[ $? -eq 143 ] && grep -q '^mdm-2e+12-.*: a signal to this training alone stopped it' err || fail "a training that a second signal ends"

# Killed, the training outlives it until it has saved: the same command waits for that, and goes on. The plan stays meanwhile.
"$mdm" scale run --out group >out 2>err &
pid=$!
for i in $(seq 200); do training=$(pgrep -P $pid -f -- --out\ group) && break; sleep 0.1; done
refuses "group: another program is at work in this folder (process $pid on " scale plan --data data --out group --families mdm --sizes 1 --around 80 --length 32 --batch 2 --budgets 1e10,2e12
kill -STOP "$training"
kill -KILL $pid; wait $pid 2>/dev/null
"$mdm" scale run --out group >out 2>err &
pid=$!
for i in $(seq 100); do grep -q '^mdm-2e+12-.*: still saving, for a program that has ended: waiting for it$' err && break; sleep 0.1; done
[ "$i" -lt 100 ] || fail "who goes on does not wait for a training that is saving"
pgrep -P $pid >/dev/null && fail "a training was taken up while it saves"
kill -CONT "$training"
for i in $(seq 200); do pgrep -P $pid >training && break; sleep 0.1; done
[ -s training ] || fail "who goes on waits for ever"
kill -INT $pid; wait $pid
[ $? -eq 130 ] || fail "killed, and started again: $(cat err)"

# Moved, it goes on.
mv group moved
rows=$(cat moved/*/run/metrics.csv | wc -l)
"$mdm" scale run --out moved >out 2>err &
pid=$!
for i in $(seq 200); do [ "$(cat moved/*/run/metrics.csv | wc -l)" -gt "$rows" ] && break; sleep 0.1; done
kill -INT $pid; wait $pid
[ $? -eq 130 ] && [ "$(cat moved/*/run/metrics.csv | wc -l)" -gt "$rows" ] || fail "a law that was moved does not go on: $(tail -n 1 moved/*/train.log)"

# One training that takes a signal of its own is named, and stops all.
check 0 scale plan --data data --out pair --families mdm,arm --sizes 1 --around 80 --length 32 --batch 2 --budgets 2e12
"$mdm" scale run --out pair --jobs 2 >out 2>err &
pid=$!
for i in $(seq 400); do [ "$(cat pair/*/run/metrics.csv 2>/dev/null | grep -c '^[0-9]')" -gt 4 ] && [ "$(ls pair/*/run/metrics.csv | wc -l)" -eq 2 ] && break; sleep 0.1; done
kill -TERM "$(pgrep -P $pid -f -- --out\ pair/arm)"
wait $pid
[ $? -eq 143 ] || fail "a training that is stopped should end all with status 143"
grep -q '^arm-2e+12-[0-9.]*M: a signal to this training alone stopped it; the others were stopped with it$' err || fail "which training was stopped"
out_is "pair/points.csv: 0 of 2 trainings are done; the same command goes on"
[ "$(grep -l '^stopped after step' pair/*/train.log | wc -l)" -eq 2 ] || fail "not all trainings saved: $(tail -n 1 pair/*/train.log)"

check 0 scale fit --points law --out law --no-plot # may find no usable optimum in so little, which is an answer

# A recipe reaches the trainings, the noise levels those of family mdm. The smallest shapes are narrow and have one head.
check 0 scale plan --data data --out fast --families mdm,arm --sizes 1 --around 20 --length 32 --batch 2 --budgets 1e10 --recipe fast
grep -q '"lr": 0.0040' fast/plan.json || fail "the fast recipe's rate: $(cat fast/plan.json)"
grep -A 1 '"heads": 1,' fast/plan.json | grep -q '"width": 16,' || fail "no narrow shape: $(cat fast/plan.json)"
check 0 scale run --out fast
[ "$(grep -l '"optimizer": "muon"' fast/*/run/run.json | wc -l)" -eq 2 ] && [ "$(grep -l '"bell": 1.0' fast/*/run/run.json | grep -c mdm-)" -eq 1 ] &&
    [ "$(grep -l '"bell": 0.0' fast/*/run/run.json | grep -c arm-)" -eq 1 ] || fail "the recipe: $(grep -E 'optimizer|bell' fast/*/run/run.json)"
sed -i 's/"recipe": "fast"/"recipe": "faster"/' fast/plan.json
refuses "expected one of published|fast, found 'faster'" scale run --out fast

# A training in another program's hands is left to it.
rm -r "law/$first/run"
flock -n -o "law/$first/.lock" sh -c "echo process \$PPID on $(hostname) >law/$first/.lock; exec sleep 30" & holder=$!
sleep 0.3
check 0 scale run --out law
out_has "5 of 6 trainings are done; another program is at work on others"
pkill -P $holder; wait $holder 2>/dev/null
check 0 scale run --out law
out_has "6 of 6"

# A lock that cannot be had is no other program.
rm -r "law/$first/run" "law/$first/.lock"; mkdir "law/$first/.lock"
refuses "law/$first/.lock: cannot open: Is a directory" scale run --out law
rmdir "law/$first/.lock"
check 0 scale run --out law

# A budget that nothing has begun may come and go.
touch law/plan.json.tmp.0123456789abcdef law/models/x.json.tmp.0123456789abcdef
check 0 $plan --budgets 1e10,2e10,5e10
ls law/*.tmp.* law/models/*.tmp.* >ls 2>&1 && fail "half-written files stay: $(cat ls)"
out_has "9 trainings, about"
check 0 $plan --budgets 1e10,2e10
[ "$(ls law/models | wc -l)" -eq 6 ] || fail "a budget is taken back: $(ls law/models)"
check 0 scale run --out law
out_has "6 of 6"

# One that diverges is no point, and keeps nothing else from being trained.
check 0 scale plan --data data --out wild --families mdm,arm --sizes 1 --around 80 --length 32 --batch 2 --budgets 1e10
sed -i 's/"lr": [0-9.]*/"lr": 10.0/' wild/plan.json
for i in 1 2; do
    check 0 scale run --out wild
    out_is "wild/points.csv: 0 of 2 trainings are done; 2 diverged: another plan with a lower --lr may save them"
    [ "$(grep -c ': diverged, no point of the law; its last words are in wild/' err)" -eq 2 ] || fail "which ones diverged: $(cat err)"
done

# Refusals.
refuses "/$first: this training was begun, and the new plan has none like it: delete its folder to take it back" $plan --budgets 2e10
refuses "begun with another lr (0.001; " $plan --budgets 1e10,2e10 --lr 2e-3
cp -r data data2
refuses "begun with another data (\"$PWD/data\"; " scale plan --data data2 --out law --families mdm --sizes 3 --around 80 --spread 6 --length 32 --batch 2 --budgets 1e10,2e10
refuses "steps of 32 sequences" scale plan --data data --out other --budgets 1e7
refuses "steps of 64 sequences for a model of 1.29e+04 M parameters: expected 20 to 1000000000000; raise --batch" scale plan --data data --out other --budgets 1e30 --batch 64
refuses "budgets 2e+10 and 1.981e+10: a fit would take them for one; expected ones more than 1 % apart" $plan --budgets 1e10,2e10,1.981e10
refuses "--batch must be between 1 and 1000000" scale plan --data data --out other --budgets 1e10 --batch 1048576
refuses "--seed must be between 0 and 9e" scale plan --data data --out other --budgets 1e10 --seed 9100000000000000000
check 0 prepare --tokenizer tokenizer.json --out whole text.txt
refuses "no validation split" scale plan --data whole --out other --budgets 1e10
refuses "no validation chunk file there holds one block of 1001 tokens" scale plan --data data --out other --budgets 1e10 --length 1000
[ -e other ] && fail "a refused plan left something"
refuses "expected up to 16 numbers" scale plan --data data --out other --budgets 1e9,x
refuses "expected mdm, arm or mdm,arm" scale plan --data data --out other --budgets 1e9 --families gpt
refuses "'mdm scale plan --out nowhere' makes it" scale run --out nowhere
cp law/plan.json kept
sed -i 's/"width": 64/"width": "x"/' law/plan.json
refuses 'plan.json: training' scale run --out law
refuses 'plan.json: training' $plan --budgets 1e10,2e10
err_has '; delete the plan that is there to make another one, or use another --out'
grep -q '"width": "x"' law/plan.json || fail "a damaged plan is taken for none"
sed 's/"name": "[^"]*"/"name": "..\/up"/' kept >law/plan.json
refuses 'expected the name of a folder' scale run --out law
cp kept law/plan.json
# A training that fails names its log.
rm -r "law/$first/run"; mv data away
check 2 scale run --out law
err_has "$first/train.log"
exit $bad

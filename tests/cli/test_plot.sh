#!/bin/bash
# mdm plot: what is drawn of which column, legends, a script that a person changed, refusals.
. tests/cli/common.sh "$1"
run() { # NAME LINES...: a run's folder with this metrics.csv
    mkdir -p "$1"
    printf '%b\n' "${@:2}" >"$1/metrics.csv"
}
header=step,tokens,flops,loss,valid_loss,lr,grad_norm
run first "$header" 1,10,1e3,5.5,,1e-4,1 2,20,2e3,4.5,5.25,1e-4,1
run 'it"s' "$header" 1,10,1e3,3.5,3.25,1e-4,1
# The columns stand elsewhere, and others are between them.
run other flops,note,valid_loss,tokens,step,loss 1e3,,,10,1,5.5 2e3,,5.25,20,2,4.5

check 0 plot first 'it"s' --out loss.svg --x tokens
grep -q '<svg' loss.svg || fail "loss.svg is no SVG"
grep -q '^10 5.5$' loss.svg.data && grep -q '^20 5.25$' loss.svg.data || fail "loss.svg.data: $(cat loss.svg.data)"
for title in '"first"' '"first, validation"' '"it\"s"' '"it\"s, validation"'; do
    grep -qF "title $title" loss.svg.gp || fail "no legend $title: $(cat loss.svg.gp)"
done
check 0 plot other --out other.svg --x tokens
tail -n +2 other.svg.data >a; sed 's/"first"/"other"/' loss.svg.data | head -n "$(wc -l <other.svg.data)" | tail -n +2 >b
cmp -s a b || fail "the order of columns matters: $(cat other.svg.data)"
# A picture of another form has a script of its own; a script that was not changed is written anew.
check 0 plot first --out loss.png --x flops --log
[ -s loss.png.gp ] && [ -s loss.png.data ] || fail "script and data are not beside the picture"
grep -qF '"it\"s"' loss.svg.gp || fail "the script of loss.svg is that of loss.png"
grep -qx "set terminal svg size 900,540 .*" loss.svg.gp && grep -qx "set terminal png size 1000,600" loss.png.gp || fail "not the pictures' sizes: $(head -4 loss.svg.gp loss.png.gp)"
check 0 plot first --out loss.svg

echo "set title 'mine'" >>loss.svg.gp
cp loss.svg.gp mine; rm loss.svg.data
refuses "loss.svg.gp was changed by hand" plot first --out loss.svg
cmp -s mine loss.svg.gp || fail "the changed script was overwritten"
[ ! -e loss.svg.data ] || fail "data was written before the refusal"
echo mine >other.png.data
refuses "other.png.data is there without other.png.gp, so that it is no picture's" plot first --out other.png
[ "$(cat other.png.data)" = mine ] || fail "data of something else was overwritten"

refuses "expected a name that ends in .svg or .png" plot first --out loss.gif
refuses "no run named" plot --out x.svg
refuses "'no-such-run' is not a folder" plot first no-such-run --out x.svg
mkdir -p data; echo '{}' >data/manifest.json
refuses "'data' has neither metrics.csv, as a training has, nor results.json, as an evaluation, nor JUDGE_single.jsonl" plot data --out x.svg
# A line break in a name ends no line of the script or its data.
run $'two\nlines' "$header" 1,10,1e3,3.5,3.25,1e-4,1
check 0 plot $'two\nlines' --out lines.svg
grep -qF 'title "two?lines, validation"' lines.svg.gp && grep -q '^# "two?lines": ' lines.svg.data || fail "a line break: $(cat lines.svg.data)"
refuses "gnuplot cannot write a name with a control character" plot first --out $'x\ny.svg'
run empty "$header"
refuses "no rows yet" plot empty --out x.svg
run lacking step,tokens,flops,valid_loss 1,2,3,4
refuses "lacking/metrics.csv: its first line names no column 'loss'" plot lacking --out x.svg
for line in 1,10,1e3,x,,1,1 1,10,1e3,5 ,10,1e3,5,,1,1 '1,10,1e3,5 ,,1,1'; do
    run bad "$header" 1,10,1e3,5.5,,1e-4,1 "$line"
    refuses "bad/metrics.csv line 3: not a row" plot bad --out x.svg
done
# gnuplot is silent where the disk is full: a picture that is cut off is none.
mkdir bin
printf '%s\n' '#!/bin/sh' "$(command -v gnuplot)"' "$@" && truncate -s -40 cut.*[gv]' >bin/gnuplot
chmod +x bin/gnuplot
for form in svg png; do
    PATH=$PWD/bin:$PATH "$mdm" plot first --out cut.$form >out 2>err; [ $? -eq 2 ] || fail "a $form that is cut off: expected status 2"
    grep -q "cut.$form: gnuplot did not write all of it" err || fail "a $form that is cut off: no message"
    rm cut.*
done

# Evaluations: bars of a metric over tasks and folders, or a line where one model's differ in steps or guidance.
evaluation() { # NAME WEIGHTS STEPS CFG ACC...: results of tasks t1, t2, …
    local name=$1 weights=$2 how="\"steps\": $3, \"cfg\": $4" results='' configs='' task=0 acc
    shift 4
    for acc in "$@"; do
        task=$((task + 1))
        results+="${results:+, }\"t$task\": {\"alias\": \"t$task\", \"acc,none\": $acc, \"acc_stderr,none\": 0.0$task, \"bleu,none\": 0.9, \"bleu_stderr,none\": \"N/A\"}"
        configs+="${configs:+, }\"t$task\": {\"metadata\": {$how}}"
    done
    mkdir -p "$name"
    echo "{\"results\": {$results, \"group\": {\"alias\": \"group\", \"acc,none\": 0.4}}, \"group_subtasks\": {\"t1\": [], \"group\": [\"t1\"]}, \"configs\": {$configs}, \"config\": {\"weights\": \"$weights\", \"family\": \"mdm\", \"parameters\": 2500000}}" >"$name/results.json"
}
rm -f a b
evaluation a w1 8 0.5 0.25 0.5
evaluation b w2 16 0.5 0.75
evaluation a16 w1 16 0.5 0.5 0.75
evaluation a4 w1 4 0.5 0.125
evaluation guided w1 8 1.5 0.375
check 0 plot a b --out bars.svg
grep -q '<svg' bars.svg || fail "bars.svg is no SVG"
[ "$(tail -n +2 bars.svg.data | paste -sd'|')" = '"t1" 0.25 0.01 0.75 0.01|"t2" 0.5 0.02 NaN NaN' ] || fail "bars: $(cat bars.svg.data)"
grep -q 'using 2:3:xtic(1) title "a"' bars.svg.gp && grep -q 'using 4:5:xtic(1) title "b"' bars.svg.gp || fail "bars: $(cat bars.svg.gp)"
check 0 plot a16 a a4 --out steps.png
[ "$(grep -v '^#' steps.png.data | paste -sd'|')" = '4 0.125 0.01|8 0.25 0.01|16 0.5 0.01|||8 0.5 0.02|16 0.75 0.02' ] || fail "steps: $(cat steps.png.data)"
grep -q 'set xlabel "sampling steps"' steps.png.gp && grep -q 'index 1 with yerrorlines pt 7 title "t2"' steps.png.gp || fail "steps: $(cat steps.png.gp)"
check 0 plot a guided --out cfg.svg
grep -q 'set xlabel "guidance"' cfg.svg.gp && grep -qx '1.5 0.375 0.01' cfg.svg.data || fail "guidance: $(cat cfg.svg.gp cfg.svg.data)"
# Models are told from one another by their weights: these two have one size, and one number of steps.
evaluation b8 w2 8 0.5 0.625
check 0 plot a b8 a16 b --out both.svg --x steps
[ "$(grep -v '^#' both.svg.data | paste -sd'|')" = '8 0.25 0.01|16 0.5 0.01|||8 0.625 0.01|16 0.75 0.01|||8 0.5 0.02|16 0.75 0.02' ] ||
    fail "lines of two models: $(cat both.svg.data)"
[ "$(grep -o 'index.*' both.svg.gp | sed 's/ with.*title//; s/, .$//' | paste -sd'|')" = 'index 0 "t1, a"|index 1 "t1, b8"|index 2 "t2, a"' ] ||
    fail "titles of two models: $(cat both.svg.gp)"
check 0 plot a a16 --out tasks.svg --x tasks --metric bleu
grep -qx '"t1" 0.9 NaN 0.9 NaN' tasks.svg.data || fail "--x tasks --metric bleu: $(cat tasks.svg.data)"
check 0 plot a a16 --out bleu.svg --metric bleu
grep -qx '8 0.9 NaN' bleu.svg.data || fail "--metric bleu: $(cat bleu.svg.data)"
# The legend names what is not finished: tasks of a folder, or places on a line.
unfinished() { # NAME TASK...: in NAME
    local name=$1 samples='' task
    shift
    for task in "$@"; do samples+="${samples:+, }\"$task\": {\"original\": 9, \"effective\": 4, \"unfinished\": true}"; done
    sed -i "s/^{/{\"n-samples\": {$samples}, /" "$name/results.json"
}
evaluation part w1 8 0.5 0.25 0.5
evaluation much w2 8 0.5 0.1 0.2 0.3 0.4 0.5
unfinished part t2 && unfinished much t1 t2 t3 t5 && unfinished a4 t1 && unfinished a16 t1
check 0 plot a part much --out part.svg --x tasks
grep -q 'title "a", ' part.svg.gp && grep -qF 'title "part (not finished: t2)"' part.svg.gp &&
    grep -qF 'title "much (not finished: t1, t2, t3, …)"' part.svg.gp || fail "unfinished bars: $(cat part.svg.gp)"
check 0 plot a16 a a4 --out part.svg
grep -qF 'title "t1 (not finished: 4, 16)"' part.svg.gp && grep -q 'title "t2"$' part.svg.gp || fail "unfinished places: $(cat part.svg.gp)"
evaluation plain w1 8 0 0.25
evaluation twice w1 8 1 0.5
evaluation none w1 8 0 0.75; sed -i 's/, "cfg": 0//' none/results.json
check 0 plot plain twice none --out log.svg --x cfg --log
err_has "plain: t1 is left out: --log has no place for its 'cfg' of 0"
err_has "none: t1 is left out: it has no setting 'cfg'"
[ "$(grep -v '^#' log.svg.data)" = '1 0.5 0.01' ] || fail "what has no place: $(cat log.svg.data)"
check 0 plot plain twice --out log.svg --x cfg
grep -q 'left out' err && fail "a place at 0 without --log: $(cat err)"
refuses "and the setting 'cfg' above 0 in plain" plot plain --out x.svg --x cfg --log
refuses "the evaluations differ in steps and in cfg: name one with --x" plot a16 guided a --out x.svg
refuses "--log: tasks stand along the axis" plot a b --out x.svg --log --x tasks
refuses "no task with the metric 'f1' in a:" plot a b --out x.svg --metric f1
evaluation words w3 8 0.5 0.5; sed -i 's/"acc,none"/"perplexity,none"/g' words/results.json
refuses "no task with the metric 'acc' in words: 'mdm eval --rescore words' shows what there is" plot a words --out x.svg
evaluation $'c\nd' w3 8 0.5 0.5
check 0 plot a $'c\nd' --out lines.svg
grep -qF 'title "c?d"' lines.svg.gp && [ "$(wc -l <lines.svg.data)" -eq 3 ] || fail "a line break: $(cat lines.svg.data)"
check 0 plot a $'c\nd' a16 --x steps --out lines.svg
grep -qx '# "t1, c?d": steps, acc, its standard error' lines.svg.data || fail "a line break: $(cat lines.svg.data)"
refuses "--x cfg, --x tasks are for evaluations, and 'first' is a training" plot first --out x.svg --x cfg
refuses "--metric is for evaluations, and 'first' is a training" plot first --out x.svg --metric acc
refuses "--smooth is for trainings, and 'a' is an evaluation" plot a --out x.svg --smooth 3
refuses "'a' is an evaluation and 'first' a training: draw them apart" plot a first --out x.svg
mkdir -p broken; echo '{"results": 3}' >broken/results.json
refuses 'broken/results.json: expected "results"' plot broken --out x.svg

# Judgments: the radar of MT-Bench's categories, of whatever files the judge left in its folder.
mkdir judged halves
cp "$golden/judge/made-up_single.jsonl" judged
cp judged/made-up_single.jsonl halves/made-up_pair.half.jsonl
echo '{"question_id": 1, "model_1": "arm", "model_2": "mdm", "judge": ["made-up"], "g1_winner": "model_1", "g2_winner": "model_1"}' >judged/made-up_pair.jsonl
check 0 plot judged --data "$golden/judge" --out radar.svg
grep -q '<svg' radar.svg || fail "radar.svg is no SVG"
[ "$(tail -n +2 radar.svg.data | paste -sd'|')" = '"arm" 5.5 2.5 4|"mdm" 5 1.5 3.5' ] || fail "radar: $(cat radar.svg.data)"
check 0 judge show judged --data "$golden/judge" --out shown
out_has 'mdm        3.6667   3.0000   3.3333       6                0'
out_has 'arm            1       0       0'
tail -n +2 radar.svg.gp | sed 's/radar.svg/shown\/radar.svg/g' | cmp -s - <(tail -n +2 shown/radar.svg.gp) && cmp -s radar.svg.data shown/radar.png.data ||
    fail "judge show draws another picture than plot: $(cat shown/radar.svg.gp)"
mkdir few && grep -v '"question_id": 2, "model": "arm"' judged/made-up_single.jsonl >few/made-up_single.jsonl
check 0 plot few --data "$golden/judge" --out few.svg
[ "$(tail -n +2 few.svg.data | paste -sd'|')" = '"arm (0: not judged)" 5.5 0 4|"mdm" 5 1.5 3.5' ] || fail "nothing judged: $(cat few.svg.data)"
mkdir strange && sed 's/"writing"/"wri\\nting"/' "$golden/judge/question.jsonl" >strange/question.jsonl
check 0 plot judged --data strange --out strange.svg
cmp -s <(tail -n +2 radar.svg.data) <(tail -n +2 strange.svg.data) || fail "a category on two lines: $(cat strange.svg.data)"
refuses "'judged' is a folder of judgments: --data DIR, the folder of question.jsonl, tells the categories" plot judged --out x.svg
refuses "--x is for trainings and evaluations, and 'judged' is a folder of judgments" plot judged --data "$golden/judge" --out x.svg --x steps
refuses "--data is for judgments, and 'a' is an evaluation" plot a --data "$golden/judge" --out x.svg
refuses "'halves' has neither" plot halves --data "$golden/judge" --out x.svg
refuses "halves: no JUDGE_single.jsonl or JUDGE_pair.jsonl in it" judge show halves
exit $bad

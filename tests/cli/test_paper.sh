#!/bin/bash
# make paper's recipe at its smallest, on made-up text: whole, stopped in the middle, and with other sources.
recipe=$(realpath recipes/paper/paper.py)
. tests/cli/common.sh "$1"

awk 'BEGIN {
    srand(3); split("the a of stone river king walks to and sees old gold in house is under far light sings", w, " ")
    for (d = 0; d < 60; d++) { for (i = 0; i < 200; i++) printf "%s%s", w[1 + int(rand() * 20)], i % 9 == 8 ? ". " : " "; print "<|endoftext|>" }
}' > words.txt
mkdir text later
cp words.txt text/old.txt
tac words.txt > later/new.txt
paper() { PAPER_TEXT=${text-text} PAPER_LATER=${later-later} PAPER_EVAL='' PAPER_FACTS='' "$recipe" "$mdm" "$@" --size smoke >out 2>err; }
untimed() { sed 's|<span class="time">.*</span>||' "$1"; } # times stand on lines and in elements of their own

# What the report says of numbers: no more than they show.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(dirname "$recipe") python3 - >out 2>err <<'END' || fail "verdicts"
from report import verdict_arithmetic, verdict_guidance, verdict_periods, verdict_reversal
for said, want in [
    (verdict_guidance(8, 0, 8), "the claim shows"),
    (verdict_guidance(1, 0, 10), "there the claim shows, elsewhere nothing does"),
    (verdict_guidance(1, 1, 10), "the claim does not show"),
    (verdict_guidance(0, 0, 10), "that is no evidence for the claim"),
    (verdict_reversal([.9, .5], [.9, .4], [0, 0]), "the claim shows"),
    (verdict_reversal([.88, .04], [.327, 0], [0, 0]), "the claim shows in one direction of the two"),
    (verdict_reversal([.21, 0], [.05, 0], [0, 0]), "at this scale the claim does not show, and of the facts as taught the MDM has learned one direction"),
    (verdict_reversal([.21, .3], [.2, 0], [.1, 0]), "at this scale the claim does not show, though the MDM has learned the facts as taught"),
    (verdict_reversal([.1, .1], [.1, 0], [0, 0]), "at this scale the claim does not show; the MDM has not even learned the facts as taught"),
    (verdict_periods(2, 2, 2), "as published"),
    (verdict_periods(2, 1, 2), "the direction is the published one, but the MDM leads in 1 only"),
    (verdict_periods(2, 0, 2), "the direction is the published one, but the MDM does not lead"),
    (verdict_periods(1, 0, 2), "the claim does not show"),
    (verdict_arithmetic(.31, 0), "These problems are far easier than GSM8K’s."),
    (verdict_arithmetic(.13, .96), "An ARM of this size learns to calculate from these problems, the MDM does not."),
    (verdict_arithmetic(.13, .2), "At this scale neither learns to calculate."),
]:
    assert said == want, (said, want)
END

paper one || fail "paper one"
for claim in 'Scaling law' 'Unsupervised guidance' 'Reversed facts' 'another time' 'Speed against quality' 'Word problems'; do
    grep -q "<h2>.*$claim.*</h2>" one/report.html || fail "the report lacks: $claim"
done
grep -q 'None\|nan' one/report.html && fail "a number is missing in the report"
calls=$(wc -l <one/calls.jsonl)
[ "$(grep -o '<li id="c[0-9]*">' one/report.html | wc -l)" -eq "$calls" ] || fail "the report does not name its $calls commands"
# Every sentence that tells a result has its commands, and every row of the table of speeds its own two.
sed 's/<p class="shown">/\n&/g; s/<tr>/\n&/g; s:</p>\|</tr>:&\n:g' one/report.html >parts
[ "$(grep '^<p class="shown">' parts | grep -c 'href="#c[0-9]*">.*</p>$')" -eq 6 ] || fail "results without commands: $(grep '^<p class="shown">' parts)"
[ "$(grep -E '^<tr><td>(ARM, cache|MDM, [0-9]+ steps)<' parts | grep -cE '(<a href="#c[0-9]+">.*){2}')" -eq 6 ] || fail "speeds without commands: $(grep ' steps' parts)"
grep -q 'Of the published optima the same fit makes a factor of 15.3 to 16.5<sup>' one/report.html || fail "the published optima have no factor"
grep -q 'MB are held out<sup><a href' one/report.html || fail "sizes of the text without commands"

# Again: nothing is computed. Stopped and gone on with: the same report, times aside.
paper one || fail "paper one again"
grep -q '^\$ mdm' out && fail "what had ended was run again"
# A line that the machine did not write to its end: the call is made again, and what follows is not written behind it.
cp one/calls.jsonl whole
head -c -9 whole >one/calls.jsonl
paper one && paper one || fail "a torn line of calls.jsonl"
grep -q '^\$ mdm' out && fail "what was run after a torn line was run again"
cmp -s <(sed 's/"seconds".*//' whole) <(sed 's/"seconds".*//' one/calls.jsonl) || fail "a torn line stayed: $(tail -n 2 one/calls.jsonl)"

# A fit that failed is no answer, whatever it is that it lacks.
grep -v 'scale fit --points law' whole >one/calls.jsonl
cp one/law/points.csv points.csv
echo 'mdm,1e9,low,3,0,1,1,1' >>one/law/points.csv
paper one && fail "a fit that failed was an answer"
err_has 'mdm scale ended with status 2'
mv points.csv one/law/points.csv
paper one || fail "paper one after a fit that failed"
grep -q '^\$ mdm scale fit --points law' out || fail "a fit that failed was recorded"

# What a person has removed is made again, all of it and that alone; also where the first try is stopped.
cp one/report.html report.html
rm -r one/data one/mdm one/eval/facts-arm one/law
paper one &
until [ -e one/mdm/metrics.csv ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
pkill -TERM -P $! && wait $! && fail "what was removed: paper one was not stopped"
mv out before
paper one || fail "what was removed: $(cat err)"
[ "$(sed -nE 's/^\$ mdm (scale )?([a-z]+) .*/\2/p' <(grep -h '^\$ mdm' before out | awk '!seen[$0]++') | tr '\n' ,)" = prepare,prepare,pretrain,eval,plan,run,fit,fit, ] ||
    fail "what was removed: $(cat before out | grep '^\$ mdm')"
cmp -s <(untimed report.html) <(untimed one/report.html) || fail "what was removed has changed the report: $(diff <(untimed report.html) <(untimed one/report.html) | cut -c1-200 | head -5)"

# Another build of the program may go on, and is told.
cp whole one/calls.jsonl
sed -i '1s/"build": "[0-9a-f]*"/"build": "another"/' one/calls.jsonl
paper one && grep -q 'run by 2 different builds' one/report.html || fail "two builds are not told"
cp whole one/calls.jsonl
paper one || fail "paper one once more"

for stop in 3:TERM 9:HUP; do
    paper two &
    until [ "$(cat two/calls.jsonl 2>/dev/null | wc -l)" -ge "${stop%:*}" ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
    pkill "-${stop#*:}" -P $! && wait $! && fail "paper two was not stopped"
    err_has "paper: stopped"
    readlink /proc/[0-9]*/cwd 2>/dev/null | grep -qx "$PWD/two" && fail "the program outlives a paper that was stopped"
done
paper two || fail "paper two goes on"
cmp -s <(untimed one/report.html) <(untimed two/report.html) || fail "a stop changed the report: $(diff <(untimed one/report.html) <(untimed two/report.html) | cut -c1-200 | head -5)"

# An evaluation that could ask nothing of one task has done all it can; one that did not come to its end has not.
asked() { # N-SAMPLES of tasks a and b
    mkdir -p asked && echo "{\"n-samples\": {$1}}" >asked/results.json
    python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import paper; sys.exit(not paper.all_asked("asked", ["a", "b"]))' "${recipe%/*}"
}
some='"a": {"original": 2, "effective": 1, "skipped": 0}' none='"b": {"original": 2, "effective": 0, "skipped": 2}'
asked "$some, $none" || fail "nothing could be asked of one task: not all was done"
for part in "$some" "$some, ${none/2\}/2, \"unfinished\": true\}}" "$some, ${none/2\}/0\}}"; do asked "$part" && fail "$part: all was done"; done
rm asked/results.json
python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import paper; sys.exit(paper.all_asked("asked", ["a"]))' "${recipe%/*}" || fail "no results: all was done"

# Other sources in the same folder are refused, a changed text too, and a folder that is not there.
later='' paper one && fail "other sources were accepted"
err_has "was begun with"
echo "more words" >>text/old.txt
paper one && fail "another text was accepted"
err_has "was begun with"
# Files of one name in two folders are both read; a text without passages to ask about is told before anything is learnt.
mkdir -p many/a many/b bare
cp words.txt many/a/part.txt
tac words.txt >many/b/part.txt
tr -d ' ' <words.txt >bare/bare.txt
python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import made; sys.exit(len(made.text_files("many")["part"]) != 120)' "${recipe%/*}" ||
    fail "a file of the same name in another folder is lost"
later='' text=bare paper five && fail "a text without words was accepted"
err_has "held-out documents has more than 60 words"
grep -q '^\$ mdm' out && fail "a text without words: something was computed"
later=nowhere paper three && fail "a folder that is not there was accepted"
err_has "PAPER_LATER: there is no folder"
exit $bad

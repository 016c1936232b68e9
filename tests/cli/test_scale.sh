#!/bin/bash
# mdm scale fit: what it writes and prints, the pictures, refusals. The numbers are held by tests/unit/test_scale_fit.c.
. tests/cli/common.sh "$1"

check 0 scale fit --points "$golden/scaling/points.csv" --out law --bootstrap 50
for word in '^mdm$' 'ln L\* = 4.155 \[' 'C · -0.0686 \[' 'C^0\.' 'compute that mdm needs for the loss of arm' 'C 1e+17 '; do
    grep -q "$word" out || fail "$last: stdout lacks $word"
done
err_empty
for key in families mdm arm budgets flops n_opt n_opt_interval loss_opt loss_exponent loss_exponent_interval loss_intercept \
    n_exponent n_intercept parametric E A B alpha beta compute_ratio better other ratio problems; do
    grep -q "\"$key\":" law/fit.json || fail "fit.json lacks $key"
done
[ "$(grep -c '"n_opt":' law/fit.json)" -eq 10 ] || fail 'fit.json: budgets'
[ "$(grep -c '"ratio":' law/fit.json)" -eq 5 ] || fail 'fit.json: ratios'
for picture in isoflop frontier; do
    grep -q '</svg>' law/$picture.svg || fail "no $picture.svg"
    [ "$(head -c 4 law/$picture.png | tail -c 3)" = PNG ] || fail "no $picture.png"
    [ -s law/$picture.gp ] && [ -s law/$picture.data ] || fail "no script or data of $picture"
done
cp out first
sed 's/^mdm,/m_dm,/' "$golden/scaling/points.csv" >under.csv
check 0 scale fit --points under.csv --out under --bootstrap 50
grep -q "title 'm\\\\_dm: e" under/frontier.gp || fail "a subscript in a legend: $(grep title under/frontier.gp)"
check 0 scale fit --points "$golden/scaling/points.csv" --out again --bootstrap 50 --no-plot
cmp -s out first && cmp -s again/fit.json law/fit.json || fail "$last: not the same again"
refuses "law/points.csv is not there: 'mdm scale run --out law' makes it" scale fit --points law --out x
: >law.txt
mkdir $'law\xe9'
refuses "not UTF-8, so plan.json cannot keep it: rename what is called so" scale plan --budgets 1e10 --data $'law\xe9' --out x
refuses "--data law.txt: no such folder: expected one made by 'mdm prepare'" scale plan --budgets 1e10 --data law.txt --out x
mv law moved && (cd moved && rm isoflop.svg && gnuplot isoflop.gp && [ -s isoflop.svg ]) || fail 'the script draws only where it was'

# Published optima: one size in each budget.
printf 'family,flops,params,loss\nmdm,6e18,84e6,3.374\nmdm,1e20,480e6,2.830\narm,6e18,153e6,2.845\narm,1e20,993e6,2.377\n' >optima.csv
mkdir optima little && touch optima/isoflop.{gp,data,svg,png} little/frontier.{gp,data,svg,png} # of earlier fits
check 0 scale fit --points optima.csv --out optima --no-plot
out_has 'note: mdm: one size in every budget'
grep -q '"parametric": null' optima/fit.json || fail 'parametric without points'
[ "$(ls optima)" = fit.json ] || fail "--no-plot: $(ls optima)"

# Too little for any line: fit.json and the terminal say why; there is no frontier to draw.
printf 'family,flops,params,loss\nmdm,6e18,84e6,3.3\nmdm,6e18,94e6,3.2\nmdm,6e18,99e6,3.3\n' >little.csv
check 0 scale fit --points little.csv --out little
out_has 'note: mdm: 1 usable budget; a line needs two: left out'
err_empty
grep -q 'a line needs two' little/fit.json || fail 'fit.json does not say why'
[ "$(grep -cE '"n_opt": 9|"(loss|n)_(exponent|intercept)": null|"parametric": null' little/fit.json)" -eq 6 ] ||
    fail "fit.json of a family without a line: $(cat little/fit.json)"
# A parametric fit needs no line.
printf 'family,flops,params,loss\nmdm,6e18,84e6,3.3\nmdm,6e18,94e6,3.2\nmdm,6e18,99e6,3.3\nmdm,6e19,84e6,3.1\nmdm,6e19,94e6,3.0\nmdm,6e19,99e6,2.9\n' >some.csv
check 0 scale fit --points some.csv --out some --no-plot
out_has 'from it N* grows as'
grep -q '"alpha":' some/fit.json || fail 'fit.json lacks the parametric fit of a family without a line'
[ -s little/isoflop.svg ] && [ "$(ls little | wc -l)" -eq 5 ] || fail "the pictures of no line: $(ls little)"

# Sizes that a plan of too small budgets made all the same are no optima; pictures of one size, or of one point, are drawn without a word.
printf 'family,flops,params,loss\nmdm,2e9,4144,5\nmdm,5e9,4144,4.8\nmdm,1e10,4144,4.7\narm,2e9,4144,4\narm,5e9,5000,3.9\narm,1e10,6000,3.8\n' >same.csv
check 0 scale fit --points same.csv --out same
err_empty
out_has 'note: mdm: the same size, 4144 parameters, in every budget: these are no optima'
out_has 'note: mdm: 0 usable budgets; a line needs two: left out'
out_has 'note: arm: one size in every budget: taken as optima'
[ "$(grep -c 'ln N\*' out)" -eq 1 ] && grep -q '"compute_ratio": \[\]' same/fit.json || fail "a line through one size: $(cat out)"
printf 'family,flops,params,loss\nmdm,2e9,4144,5\n' >single.csv
check 0 scale fit --points single.csv --out single
err_empty
[ -s single/isoflop.png ] || fail 'no picture of one point'

refuses 'required' scale fit --out x
# As a spreadsheet writes it: a mark at the start, two bytes at the end of a line.
{ printf '\xef\xbb\xbf'; sed 's/$/\r/' "$golden/scaling/points.csv"; } >sheet.csv
check 0 scale fit --points sheet.csv --out sheet --no-plot --bootstrap 0
refuses "expected plan, run or fit; 'mdm scale --help'" scale
refuses "did you mean 'fit'" scale fti
refuses 'nowhere.csv' scale fit --points nowhere.csv --out x
refuses 'more' scale fit --points optima.csv --out x more
printf 'family,flops,params,loss\nmdm,6e18,84e6,3.3\nmdm,6e18,84e6,low\n' >bad.csv
refuses 'bad.csv line 3: "loss"' scale fit --points bad.csv --out x
[ -e x ] && fail 'a refused fit left something'
: >file
refuses 'file' scale fit --points optima.csv --out file/x
PATH=/nowhere "$mdm" scale fit --points optima.csv --out bare >out 2>err
[ $? -eq 2 ] || fail 'without gnuplot'
err_has 'gnuplot is not installed'
[ -s bare/fit.json ] || fail 'fit.json does not need gnuplot'
check 0 scale --help
out_has 'mdm scale fit --points'
check 0 scale fit --help
out_has '(default 1000)'
# More sizes in a budget than there are replicates.
awk 'BEGIN {print "family,flops,params,loss"; for (b = 18; b < 20; b++) for (i = 0; i < 40; i++) {x = log(10) * (b / 2 - 1) + (i - 20) / 10;
    printf "mdm,1e%d,%.6g,%.6f\n", b, exp(x), 30 / b + 0.05 * ((i - 20) / 10) ^ 2}}' >many.csv
check 0 scale fit --points many.csv --out many --bootstrap 1 --no-plot
exit $bad

#!/bin/bash
# mdm plan: the table of given rates, what is measured where none are, what is refused.
. tests/cli/common.sh "$1"
given="--model 170 --vocab 300 --batch 4 --length 32 --steps 1000 --rate 100 --memory-rate 20"

# Memory as it was measured: docs/distributed.md, "What each rank keeps".
check 0 plan $given --sum-groups 4 --ranks 1,2,4
err_empty
[ "$(grep -cE '^ +[124] ' out)" -eq 3 ] || fail "$last: expected three rows"
awk '/^ +[124] / { split("3446 1510 0 871", mib, " "); d = $2 * 1024 / mib[$1] - 1; if (d < -0.05 || d > 0.05) bad = 1 } END { exit bad }' out ||
    fail "$last: not the memory that was measured"

# Two machines, twice the passes' rate: the time follows. 1000 steps and a twentieth.
field() { awk -v r="$1" -v f="$2" '$1 == r { print $f }' out; }
check 0 plan $given --shard none --ranks 1 --micro-batch 4 --recompute
out_has "1000 steps of 4 × 32 tokens"
out_has "--shard none"
out_has "network: 12.5 GB/s each way (default), latency 5 us (default), overhead 1 us a message (default)"
slow=$(field 1 4)
check 0 plan $given --shard none --ranks 1 --micro-batch 4 --recompute --rate 200
awk -v a="$slow" -v b="$(field 1 4)" 'BEGIN { exit !(a / b > 1.99 && a / b < 2.01) }' || fail "$last: twice the rate is not half the time"
awk -v s="$(field 1 8)" -v d="$(field 1 9)" 'BEGIN { x = s * 1.05 * 1000 / 86400 / d; exit !(x > 0.99 && x < 1.01) }' || fail "$last: days are not those of the steps"
check 0 plan $given --ranks 1 --memory 1GB
out_has "!: more than 92 % of the memory of 0.9313 GiB"
out_has "r: memory is short"
out_has "each machine: 0.9313 GiB of memory (given), 100 GFLOP/s"

check 0 plan $given --ranks 2,1,2,2 --latency 3us
[ "$(grep -cE '^ +[12] ' out)" -eq 2 ] || fail "$last: a number of ranks that is repeated makes one row"
out_has "latency 3 us (given)"

for rate in 10Gbit 10Gbit/s 1.25GB 1.25GB/s; do
    check 0 plan $given --ranks 2 --network $rate
    out_has "network: 1.25 GB/s each way (given)"
done

# Measured: a model small enough for tests, in passes of as many sequences as the fewest ranks have, up to 2048 tokens.
check 0 plan --model 6 --vocab 300 --length 16 --batch 12 --flops 1e12 --ranks 4,2 --memory-rate 20
out_has "(measured here, 6 x 16 tokens a pass)"
[ -n "$(field 2 8)" ] || fail "$last: no row"
check 0 plan --model 6 --vocab 300 --length 16 --batch 1024 --flops 1e12 --ranks 1
out_has "(measured here, 128 x 16 tokens a pass)"
out_has "(measured here)"

# Muon: its products are a part of computing; the machines' line tells their rate.
check 0 plan $given --shard none --ranks 1 --micro-batch 4 --recompute --optimizer muon --muon-rate 50
out_has "--shard none, muon"
out_has "memory bandwidth 20 GB/s (given), 50 GFLOP/s in Muon's products (given)"
# 18 layers: 2 n² (2 k + 17 n) of 2304 x 768, 768 x 768 and three of 768 x 3072
awk -v a="$slow" -v b="$(field 1 4)" 'BEGIN { n = 768; f = 18 * 2 * n * n * (2 * (2304 + 768 + 3 * 3072) + 5 * 17 * n); x = (b - a) * 50e9 / f; exit !(x > 0.99 && x < 1.01) }' ||
    fail "$last: not the time of Muon's products"
check 0 plan --model 6 --vocab 300 --length 16 --batch 12 --steps 10 --ranks 1 --memory-rate 20 --rate 100 --optimizer muon
out_has "GFLOP/s in Muon's products (measured here)"
err_has "measuring this machine with Muon's products of a layer"
sed -n "s/.* \([0-9.e+]*\) GFLOP\/s in Muon's.*/\1/p" out | awk '{ exit !($1 > 0.1 && $1 < 1e5) }' || fail "$last: no rate of a machine"
refuses "--muon-rate is for a training by --optimizer muon" plan $given --muon-rate 50

refuses "give one of --flops, --tokens and --steps" plan --model 6
refuses "--ranks '1,x': expected numbers from 1 to 1024" plan $given --ranks 1,x
refuses "--ranks '1,'" plan $given --ranks 1,
refuses "--ranks '2000'" plan $given --ranks 2000
refuses "--network '10': expected 1kbit to 1000000GB, one of Gbit, Mbit, kbit, GB, MB behind the number" plan $given --network 10
refuses "--network '10Gbit/h': expected" plan $given --network 10Gbit/h
refuses "--latency '5us/s': expected" plan $given --latency 5us/s
refuses "--network '1e300GB': expected 1kbit to" plan $given --network 1e300GB
refuses "--network '1e-300GB': expected 1kbit to" plan $given --network 1e-300GB
refuses "--latency '1e300s': expected 0us to 60s" plan $given --latency 1e300s
refuses "--memory '1e300GB': expected 1MB to" plan $given --memory 1e300GB
refuses "--rate 1e-300: expected at least 0.001, or 0" plan $given --rate 1e-300
refuses "--memory-rate 1e-300: expected at least 0.001" plan $given --memory-rate 1e-300
refuses "--muon-rate 1e-300: expected at least 0.001" plan $given --optimizer muon --muon-rate 1e-300
refuses "--rate must be" plan $given --rate 1e300
refuses "--network '0Gbit'" plan $given --network 0Gbit
refuses "--latency 'nanus'" plan $given --latency nanus
refuses "--latency '-1ms'" plan $given --latency=-1ms
refuses "--sum-groups 4: expected one for each of the 8 processes" plan $given --sum-groups 4 --ranks 2,8
refuses "--length 4096: the model's block size is 2048" plan $given --length 4096
refuses "below one step" plan --model 170 --flops 1e9
refuses "more than 1000000000000 steps" plan --model 170 --flops 1e30
exit $bad

#!/bin/bash
# Under Slurm's launcher, of a cluster of this one machine that the test starts for itself: the same bits as from one process;
# scancel, and SIGTERM before it, save once; a rank that dies ends all.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
skip() { echo "SKIP Slurm's launcher: $*"; exit 0; }
export PATH=$PATH:/usr/sbin # of both daemons, for those who are root by sudo
for tool in slurmctld slurmd srun; do command -v $tool >where || skip "$tool is not installed (tools/deps.sh --slurm)"; done
[ "$(id -u)" = 0 ] || skip "slurmd wants root"

host=$(hostname -s)
port=$((20000 + $$ % 20000))
export SLURM_CONF=$dir/slurm.conf
cat >slurm.conf <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmdSpoolDir=$dir/spool
StateSaveLocation=$dir/state
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES
END
mkdir spool state
trap 'timeout 10 scancel --signal=KILL -u "$(id -un)" 2>/dev/null; sleep 0.3; kill $(cat slurmd.pid slurmctld.pid 2>/dev/null) 2>/dev/null; sleep 0.2; rm -rf "$box"' EXIT
slurmctld >out 2>err && slurmd -N "$host" >out 2>err || skip "$(cat err)"
for try in $(seq 100); do [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && break; sleep 0.1; done
timeout 20 srun -n 2 true 2>err || skip "it does not start here: $(tail -n 1 err)"

make_data
run="$common --batch 4 --sum-groups 2 --precision bf16"
"$mdm" pretrain $run --steps 6 --out one >out 2>err || fail "one process"
srun -n 2 "$mdm" pretrain $run --steps 6 --shard full --out two >out 2>err || fail "srun -n 2"
grep -q 'in each of 2 processes' err || fail "srun -n 2: not two ranks"
same_state one two

begun() { # RUN: a job of two ranks trains there, as number $job
    printf '#!/bin/sh\nexec srun %s pretrain %s --steps 100000 --out %s\n' "'$mdm'" "$run" "$1" >job.sh
    job=$(sbatch --parsable -n 2 --output="$1.log" job.sh 2>err) || fail "sbatch"
    for try in $(seq 300); do [ "$(cat "$1/metrics.csv" 2>/dev/null | wc -l)" -gt 3 ] && break; sleep 0.1; done
}
ended() { # SECONDS: the job is gone
    for try in $(seq $(($1 * 10))); do squeue -h -j "$job" 2>/dev/null | grep -q . || return 0; sleep 0.1; done
    return 1
}
begun cancelled
scancel --signal=TERM "$job" 2>err # at the end of a job's time ranks are told twice
scancel "$job" 2>err
ended 30 || fail "scancel: the job goes on"
[ "$(grep -c 'stopped after step' cancelled.log)" -eq 1 ] || fail "scancel: not one line that the run was stopped: $(cat cancelled.log)"
[ "$(ls cancelled/checkpoint-* | wc -l)" -eq 1 ] || fail "scancel: not one checkpoint"
begun killed
pkill -9 -n -f "^$mdm pretrain .*--out killed" || fail "no rank is there to be killed"
ended 30 || fail "a rank is killed: the job goes on"
exit $bad

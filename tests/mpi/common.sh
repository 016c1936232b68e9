# What the tests of many processes share, after tests/cli/common.sh: a small corpus and model, and runs of it by N ranks.
command -v mpirun >/dev/null || { echo "mpirun is not installed"; exit 1; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # the tests may run as root, in a container
export OMPI_MCA_btl_vader_single_copy_mechanism=none # containers forbid the system call that it would try
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 # Open MPI's own, from modules that are gone at the end: no suppression can name them

ranks() { # N WORDS...: mdm WORDS... by N ranks; output in the files out and err
    last="mpirun -n $1 mdm ${*:2}"
    mpirun -n "$1" "$mdm" "${@:2}" >out 2>err
}
pid_of() { # RANK MPIRUN: the process that is this rank
    local pid
    for pid in $(pgrep -P "$2"); do tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$pid"; done
}
same() { cmp -s "$1/model.safetensors" "$2/model.safetensors" || fail "$2 differs from $1"; }
same_state() { # RUN RUN: their newest checkpoints, every byte
    local one other
    same "$1" "$2"
    one=$(ls "$1"/checkpoint-*.safetensors | tail -n 1) other=$(ls "$2"/checkpoint-*.safetensors | tail -n 1)
    [ "${one##*/}" = "${other##*/}" ] && cmp -s "$one" "$other" || fail "the checkpoint of $2 differs from that of $1"
}

make_data() {
    for i in $(seq 1 400); do printf 'the %s dog number %d sees a %s cat\n\n' "$([ $((i % 3)) = 0 ] && echo red || echo blue)" "$i" "$([ $((i % 2)) = 0 ] && echo big || echo small)"; done >text.txt
    "$mdm" tokenizer train --vocab 300 --out tokenizer.json text.txt 2>err || fail "tokenizer train"
    "$mdm" prepare --tokenizer tokenizer.json --out data --validation 0.1 text.txt >out 2>err || fail "prepare"
    cat >tiny.json <<'END'
{"family": "mdm", "block_size": 32, "vocab_size": 300, "padded_vocab_size": 320, "mask_id": 320, "n_layer": 3, "n_head": 2,
 "n_query_groups": 2, "n_embd": 32, "intermediate_size": 64, "norm_eps": 1e-5, "rope_bf16": true}
END
    common="--model tiny.json --data data --tokenizer tokenizer.json --length 32 --mc 2 --valid-sequences 4 --eval-every 5"
}

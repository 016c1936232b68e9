#!/usr/bin/env python3
"""Left-to-right decoding against llama.cpp: the shape of model 170, random weights, in turn.

    pip install gguf numpy
    pip download --no-binary llama-cpp-python --no-deps llama-cpp-python; tar xzf llama_cpp_python-*.tar.gz
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B LLAMA -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF && make -C LLAMA llama-bench
    make bench          # or: make build/bench/decode
    bench/compare_llama.py LLAMA/bin/llama-bench [--turns 3] [--types f32,bf16] [--steps 32]

Both use all cores, read a prompt of 512 tokens and go on from it. A line per turn, then the ratios of the best turns.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile

import numpy as np

L, H, E, F, V, PROMPT = 18, 12, 768, 3072, 32000, 512


def write_model(path, kind):
    import gguf

    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(L)
    w.add_context_length(2048)
    w.add_embedding_length(E)
    w.add_feed_forward_length(F)
    w.add_head_count(H)
    w.add_head_count_kv(H)
    w.add_rope_dimension_count(E // H)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(V)
    w.add_tokenizer_model("no_vocab")
    w.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "f32" else gguf.LlamaFileType.MOSTLY_BF16)
    rng = np.random.default_rng(1)

    def matrix(name, rows, cols):
        x = (rng.standard_normal((rows, cols)) * 0.02).astype(np.float32)
        if kind == "bf16":
            x = (x.view(np.uint32) >> 16).astype(np.uint16)
            w.add_tensor(name, x.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(name, x)

    matrix("token_embd.weight", V, E)
    matrix("output.weight", V, E)
    w.add_tensor("output_norm.weight", np.ones(E, np.float32))
    for i in range(L):
        for name, rows, cols in (("attn_q", E, E), ("attn_k", E, E), ("attn_v", E, E), ("attn_output", E, E),
                                 ("ffn_gate", F, E), ("ffn_up", F, E), ("ffn_down", E, F)):
            matrix(f"blk.{i}.{name}.weight", rows, cols)
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(E, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama(program, path, steps, threads):
    out = subprocess.run([program, "-m", path, "-p", str(PROMPT), "-n", "0", "-pg", f"{PROMPT},{steps}", "-t", str(threads), "-r", "1",
                          "-o", "json"], check=True, capture_output=True, text=True).stdout
    prompt = both = None
    for r in json.loads(out):
        if r["n_gen"] == 0:
            prompt = r["n_prompt"] / (r["avg_ns"] * 1e-9)
        else:
            both = r["avg_ns"] * 1e-9
    return {"prompt": prompt, "one": steps / (both - PROMPT / prompt)}


def mdm(program, kind, steps):
    out = subprocess.run([program, kind, "170", str(PROMPT), str(steps)], check=True, capture_output=True, text=True).stdout
    number = lambda pattern: float(re.search(pattern + r": ([0-9.]+) tokens/s", out).group(1))
    return {"prompt": number(f"prompt {PROMPT}"), "one": number("steps of 1"), "eight": number("steps of 8")}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("llama")
    p.add_argument("--mdm", default="build/bench/decode")
    p.add_argument("--types", default="f32,bf16")
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--steps", type=int, default=32)
    a = p.parse_args()
    for kind in a.types.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.gguf")
            write_model(path, kind)
            best = {}
            for turn in range(a.turns):
                for name, result in (("llama.cpp", llama(a.llama, path, a.steps, os.cpu_count())), ("mdm", mdm(a.mdm, kind, a.steps))):
                    print(kind, turn, name, {k: round(v, 1) for k, v in result.items()}, flush=True)
                    for key, value in result.items():
                        best[name, key] = max(best.get((name, key), 0), value)
            print(f"{kind}: decoding {best['mdm', 'one'] / best['llama.cpp', 'one']:.2f} times llama.cpp, "
                  f"prompt {best['mdm', 'prompt'] / best['llama.cpp', 'prompt']:.2f} times, "
                  f"eight at once {best['mdm', 'eight'] / best['mdm', 'one']:.2f} times one")


if __name__ == "__main__":
    main()

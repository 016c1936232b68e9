#!/usr/bin/env python3
"""Left-to-right decoding and unmasking against llama.cpp: the shape of model 170, random weights, in turn.

    pip install gguf numpy
    pip download --no-binary llama-cpp-python --no-deps llama-cpp-python; tar xzf llama_cpp_python-*.tar.gz
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B LLAMA -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF && make -C LLAMA llama-bench llama-diffusion-cli llama-quantize
    make bench          # or: make build/bench/decode
    bench/compare_llama.py LLAMA/bin [--parts decode,unmask] [--turns 3] [--types f32,bf16] [--steps 32]

Both use all cores. decode: they read a prompt of 512 tokens and go on from it. unmask: 512 masked tokens are written in 8 steps
by confidence, llama.cpp's by its diffusion example (as LLaDA; in bf16, Q8_0 and Q4_K_M, sampling included), mdm's in bf16. A line
per turn, then the ratios of the best turns.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile

import numpy as np

L, H, E, F, V, PROMPT, UNMASK_STEPS = 18, 12, 768, 3072, 32000, 512, 8


def add_vocabulary(w):
    """Made up, as llama.cpp's diffusion example wants one: bytes, then words; the last id is the mask."""
    import gguf

    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kinds = [gguf.TokenType.UNKNOWN] + 2 * [gguf.TokenType.CONTROL] + 256 * [gguf.TokenType.BYTE]
    tokens += [f"word{i}" for i in range(V - len(tokens))]
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * V)
    w.add_token_types(kinds + (V - len(kinds)) * [gguf.TokenType.NORMAL])
    w.add_mask_token_id(V - 1)
    w.add_bool("diffusion.shift_logits", False)


def write_model(path, kind, architecture="llama"):
    import gguf

    w = gguf.GGUFWriter(path, architecture)
    w.add_block_count(L)
    w.add_context_length(2048)
    w.add_embedding_length(E)
    w.add_feed_forward_length(F)
    w.add_head_count(H)
    w.add_head_count_kv(H)
    w.add_rope_dimension_count(E // H)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(V)
    if architecture == "llama":
        w.add_tokenizer_model("no_vocab")
    else:
        add_vocabulary(w)
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
    def rate(*what):
        out = subprocess.run([program, "-m", path, "-t", str(threads), "-r", "1", "-o", "json", *what], check=True, capture_output=True,
                             text=True).stdout
        return json.loads(out)[0]["avg_ts"]

    return {"prompt": rate("-p", str(PROMPT), "-n", "0"), "one": rate("-p", "0", "-n", str(steps), "-d", str(PROMPT))}


def mdm(program, kind, steps):
    out = subprocess.run([program, kind, "170", str(PROMPT), str(steps)], check=True, capture_output=True, text=True).stdout
    number = lambda pattern: float(re.search(pattern + r": ([0-9.]+) tokens/s", out).group(1))
    return {"prompt": number(f"prompt {PROMPT}"), "one": number("steps of 1"), "eight": number("steps of 8")}


def llama_unmask(programs, path, threads):
    out = subprocess.run([os.path.join(programs, "llama-diffusion-cli"), "-m", path, "-p", "", "-c", str(PROMPT), "-b", str(PROMPT), "-ub",
                          str(PROMPT), "-t", str(threads), "--diffusion-steps", str(UNMASK_STEPS), "--diffusion-eps", "0.001",
                          "--diffusion-algorithm", "4", "--temp", "0", "--top-k", "1"], check=True, capture_output=True, text=True)
    return float(re.search(r"time per step: ([0-9.]+)ms", out.stdout + out.stderr).group(1)) / 1000


def mdm_unmask(program):
    out = subprocess.run([program, "bf16", "170", str(PROMPT), str(UNMASK_STEPS), "unmask"], check=True, capture_output=True, text=True)
    return float(re.search(r": ([0-9.]+) s a step", out.stdout).group(1))


def compare_unmasking(a):
    with tempfile.TemporaryDirectory() as folder:
        paths = {kind: os.path.join(folder, kind + ".gguf") for kind in ("BF16", "Q8_0", "Q4_K_M")}
        write_model(paths["BF16"], "bf16", "llada")
        for kind in ("Q8_0", "Q4_K_M"):
            subprocess.run([os.path.join(a.llama, "llama-quantize"), paths["BF16"], paths[kind], kind], check=True, capture_output=True)
        best = {}
        for turn in range(a.turns):
            times = {"llama.cpp " + kind: llama_unmask(a.llama, path, os.cpu_count()) for kind, path in paths.items()}
            times["mdm"] = mdm_unmask(a.mdm)
            print("unmasking", turn, "seconds a step", {k: round(v, 4) for k, v in times.items()}, flush=True)
            best = {k: min(v, best.get(k, v)) for k, v in times.items()}
        mdm = best.pop("mdm")
        print("unmasking: mdm takes", ", ".join(f"1/{v / mdm:.2f} of {k}'s time" for k, v in best.items()))


def compare_decoding(a):
    for kind in a.types.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.gguf")
            write_model(path, kind)
            best = {}
            for turn in range(a.turns):
                for name, result in (("llama.cpp", llama(os.path.join(a.llama, "llama-bench"), path, a.steps, os.cpu_count())),
                                     ("mdm", mdm(a.mdm, kind, a.steps))):
                    print(kind, turn, name, {k: round(v, 1) for k, v in result.items()}, flush=True)
                    for key, value in result.items():
                        best[name, key] = max(best.get((name, key), 0), value)
            print(f"{kind}: decoding {best['mdm', 'one'] / best['llama.cpp', 'one']:.2f} times llama.cpp, "
                  f"prompt {best['mdm', 'prompt'] / best['llama.cpp', 'prompt']:.2f} times, "
                  f"eight at once {best['mdm', 'eight'] / best['mdm', 'one']:.2f} times one")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("llama")
    p.add_argument("--mdm", default="build/bench/decode")
    p.add_argument("--parts", default="decode,unmask")
    p.add_argument("--types", default="f32,bf16")
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--steps", type=int, default=32)
    a = p.parse_args()
    if "unmask" in a.parts.split(","):
        compare_unmasking(a)
    if "decode" in a.parts.split(","):
        compare_decoding(a)


if __name__ == "__main__":
    main()

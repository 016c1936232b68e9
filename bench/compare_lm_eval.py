"""mdm eval against lm-evaluation-harness 0.4.4 (HFLM) on this CPU: the same random model, tokenizer and requests, in float32.

    python bench/compare_lm_eval.py --tokenizer DIR --data DIR [--arch gpt2|llama] [--size tiny|124M] [--tasks hellaswag,boolq]
                                    [--limit 100] [--batches 1,8,32] [--mdm build/mdm] [--threads N]

Needs lm-eval 0.4.4, torch, transformers, safetensors. mdm evaluates the tasks; its samples hold every request and answer. HFLM
answers the same requests, once for each batch size, and its best time counts (the call of loglikelihood() alone, tokenizing
included; of mdm the run less one with a single item, so that loading is not part of either). The llama has grouped heads.

Printed for each task: requests, the largest relative difference of a log-likelihood, how many is_greedy differ, in how many items
another choice wins (acc, acc_norm), and both times, on the clock and of the processor: on a busy machine only the latter compare."""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

SIZES = {"tiny": (2, 4, 64), "124M": (12, 12, 768)}


def make_model(arch, size, folder):
    L, H, E = SIZES[size]
    torch.manual_seed(1)
    if arch == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_layer=L, n_head=H, n_embd=E))
    else:
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=H // 2, hidden_size=E,
                                             intermediate_size=3 * E, max_position_embeddings=2048))
    if size == "tiny":  # peaky, so that likelihoods differ and some answers are greedy
        for p in model.parameters():
            p.data *= 8 if p.dim() > 1 else 1
    model.eval().save_pretrained(folder)
    return model


def processor(who):
    r = resource.getrusage(who)
    return r.ru_utime + r.ru_stime


def run_mdm(a, folder, task, out, limit):
    clock, cpu = time.time(), processor(resource.RUSAGE_CHILDREN)
    subprocess.run([a.mdm, "eval", "--tasks", task, "--weights", folder, "--tokenizer", a.tokenizer, "--data", a.data, "--out", out,
                    "--precision", "f32", "--threads", str(a.threads), "--bos", "no", "--limit", str(limit), "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    return time.time() - clock, processor(resource.RUSAGE_CHILDREN) - cpu


def read_samples(out, task):
    requests, answers, items = [], [], []
    for line in open(os.path.join(out, f"samples_{task}.jsonl")):
        o = json.loads(line)
        args = o["arguments"]
        args = list(args.values()) if isinstance(args, dict) else args
        args = [list(x.values()) if isinstance(x, dict) else x for x in args]
        items.append((len(requests), len(args)))
        requests += [tuple(x[:2]) for x in args]
        answers += [(float(r[0]), r[1] in (True, "True")) for r in o["filtered_resps"]]
    return requests, answers, items


def best(values):
    return max(range(len(values)), key=lambda i: values[i])


def compare(task, requests, got, want, items):
    worst = max(abs(g[0] / w[0] - 1) for g, w in zip(got, want))
    greedy = sum(g[1] != w[1] for g, w in zip(got, want))
    other = [0, 0]
    for at, n in items:
        chars = [len(requests[at + i][1]) - 1 for i in range(n)]
        for k, scale in enumerate(([1] * n, chars)):
            mine, theirs = ([x[at + i][0] / scale[i] for i in range(n)] for x in (got, want))
            other[k] += best(mine) != best(theirs)
    print(f"{task}: {len(items)} items, {len(requests)} requests ({sum(w[1] for w in want)} greedy): largest relative difference "
          f"{worst:.1e}, is_greedy differs in {greedy}, the best choice in {other[0]}, per character in {other[1]}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--arch", default="gpt2", choices=["gpt2", "llama"])
    p.add_argument("--size", default="124M", choices=list(SIZES))
    p.add_argument("--tasks", default="hellaswag,boolq")
    p.add_argument("--limit", type=int, default=100)
    p.add_argument("--batches", default="1,8,32")
    p.add_argument("--mdm", default="build/mdm")
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    with tempfile.TemporaryDirectory() as d:
        model = make_model(a.arch, a.size, os.path.join(d, "model"))
        tokenizer = AutoTokenizer.from_pretrained(a.tokenizer)
        for task in a.tasks.split(","):
            out = os.path.join(d, task)
            whole, start = run_mdm(a, os.path.join(d, "model"), task, out, a.limit), run_mdm(
                a, os.path.join(d, "model"), task, out + "1", 1)
            requests, got, items = read_samples(out, task)
            times, want = [], None
            for size in a.batches.split(","):
                lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=int(size), device="cpu")
                asked = [Instance("loglikelihood", {}, r, i) for i, r in enumerate(requests)]
                clock, cpu = time.time(), processor(resource.RUSAGE_SELF)
                want = lm.loglikelihood(asked, disable_tqdm=True)
                times.append((time.time() - clock, processor(resource.RUSAGE_SELF) - cpu, size))
            compare(task, requests, got, want, items)
            mdm = [w - s for w, s in zip(whole, start)]
            clock, cpu = min(times), min(times, key=lambda t: t[1])
            print(f"    clock: mdm {mdm[0]:.1f} s, HFLM {clock[0]:.1f} s at batch {clock[2]}: {clock[0] / mdm[0]:.2f} times; "
                  f"processor: {mdm[1]:.1f} and {cpu[1]:.1f} s at batch {cpu[2]}: {cpu[1] / mdm[1]:.2f} times", flush=True)


if __name__ == "__main__":
    sys.exit(main())

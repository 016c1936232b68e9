"""mdm eval against lm-evaluation-harness 0.4.4 (HFLM) on this CPU: the same random model, tokenizer and requests, in float32.

    python bench/compare_lm_eval.py --tokenizer DIR --data DIR [--arch gpt2|llama|mdm] [--size tiny|124M] [--tasks hellaswag,boolq]
                                    [--limit 100] [--batches 1,8,32] [--precision f32|bf16] [--hf-precision f32|bf16] [--mdm build/mdm] [--threads N] [--oracle DIR] [--cfg 0.5]

Needs lm-eval 0.4.4, torch, transformers, safetensors. mdm evaluates the tasks; its samples hold every request and answer. HFLM
answers the same requests, once for each batch size, and its best time counts (the call of loglikelihood() alone, tokenizing
included; of mdm the run less one with a single item, each the better of two, so that loading is not part of either). The llama has grouped heads.

--arch mdm: a masked diffusion model of refmodel.py, the oracle in --oracle DIR, by the chain rule with guidance --cfg, token by
token, and greedy unmasking of last words; it answers the requests instead of HFLM. Also gsm8k, reverse_ntd, reverse_dtn: texts
written at temperature 0, which must be the same.

Printed for each task: requests, the largest relative difference of a log-likelihood, how many is_greedy differ, in how many items
another choice wins (acc, acc_norm), of last words both perplexities, and both times, on the clock and of the processor: on a busy machine only the latter compare."""
import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

WRITTEN = ["gsm8k", "reverse_ntd", "reverse_dtn"]  # tasks of texts, for --arch mdm
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


def make_mdm(oracle, folder):
    sys.path.insert(0, oracle)
    import refmodel

    L, H, E = SIZES["tiny"]
    config = {"block_size": 2048, "vocab_size": 32000, "padded_vocab_size": 32000, "mask_id": 32000, "n_layer": L, "n_head": H,
              "n_query_groups": H // 2, "n_embd": E, "intermediate_size": 3 * E, "norm_eps": 1e-5, "rope_bf16": True, "family": "mdm"}
    weights = refmodel.init_weights(config, "mdm", 1, spread=4.0)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    save_file(weights, os.path.join(folder, "model.safetensors"))
    head = weights["lm_head.weight"].double()
    body = {**weights, "lm_head.weight": torch.eye(E)}  # its output is what the head multiplies
    return lambda ids: refmodel.forward(body, config, "mdm", ids), head, config["mask_id"]


class ChainRule:
    """Log-likelihoods of a masked diffusion model as published."""

    def __init__(self, model, tokenizer, cfg):
        (self.hidden, self.head, self.mask), self.tokenizer, self.cfg = model, tokenizer, cfg

    def encode(self, context, continuation):
        n = len(context) - len(context.rstrip())
        if n:
            context, continuation = context[:-n], context[-n:] + continuation
        prefix = self.tokenizer(context)["input_ids"]
        return prefix, self.tokenizer(context + continuation)["input_ids"][len(prefix):]

    def rows(self, ids, hidden, at):
        """Guided logits of position at[i] of ids[i]; the first `hidden` tokens are the prefix."""
        x, i = torch.tensor(ids), torch.arange(len(ids))
        c = self.hidden(x)[i, torch.tensor(at)].double() @ self.head.T
        if self.cfg == 0:
            return c
        x[:, :hidden] = self.mask
        u = self.hidden(x)[i, torch.tensor(at)].double() @ self.head.T
        return u + (self.cfg + 1) * (c - u)

    def is_greedy(self, p, t):
        out = [self.mask] * len(t)
        while self.mask in out:
            still = [i for i in range(len(t)) if out[i] == self.mask]
            q = torch.softmax(self.rows([p + out] * len(still), len(p), [len(p) + i for i in still]), -1)
            best = int(q.max(-1).values.argmax())
            out[still[best]] = int(q[best].argmax())
            if out[still[best]] != t[still[best]]:
                return False
        return True

    @torch.no_grad()
    def loglikelihood(self, requests, greedy):
        out = []
        for context, continuation in requests:
            p, t = self.encode(context, continuation)
            z = self.rows([p + t[:i] + [self.mask] * (len(t) - i) for i in range(len(t))], len(p), [len(p) + i for i in range(len(t))])
            ll = torch.log_softmax(z, -1)[torch.arange(len(t)), torch.tensor(t)].sum()
            out.append((float(ll), greedy and self.is_greedy(p, t)))
        return out


def processor(who):
    r = resource.getrusage(who)
    return r.ru_utime + r.ru_stime


def run_mdm(a, folder, task, out, limit):
    how = ["--bos", "no"] if a.arch != "mdm" else ["--cfg", str(a.cfg)] + (
        ["--temperature", "0"] if task in WRITTEN else ["--likelihood", "chain"])
    clock, cpu = time.time(), processor(resource.RUSAGE_CHILDREN)
    subprocess.run([a.mdm, "eval", "--tasks", task, "--weights", folder, "--tokenizer", a.tokenizer, "--data", a.data, "--out", out,
                    "--precision", a.precision, "--threads", str(a.threads), "--limit", str(limit), "--quiet"] + how,
                   check=True, stdout=subprocess.DEVNULL)
    return time.time() - clock, processor(resource.RUSAGE_CHILDREN) - cpu


def fastest(a, folder, task, out, limit):
    """The better of two runs: what differs is whether the model's file and fresh memory were at hand."""
    runs = []
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        runs.append(run_mdm(a, folder, task, out, limit))
    return [min(r[i] for r in runs) for i in range(2)]


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


class Confidence(ChainRule):
    """As published: confidence sampling at temperature 0, ranked per sequence, and GSM8K's two passes."""

    @torch.no_grad()
    def write(self, ids, length, steps):
        x, n = ids + [self.mask] * (length - len(ids)), len(ids)
        times = torch.linspace(1, 1e-5, steps + 1)
        for i in range(steps):
            still = [k for k in range(length) if x[k] == self.mask]
            share = 1 - times[i + 1] / times[i]
            count = int(torch.tensor(float(len(still))) * share) if i < steps - 1 else len(still)
            if count == 0:
                continue
            c = self.hidden(torch.tensor([x]))[0, still].double() @ self.head.T
            if self.cfg > 0:
                u = self.hidden(torch.tensor([[self.mask] * n + x[n:]]))[0, still].double() @ self.head.T
                c = u + (self.cfg + 1) * (c - u)
            best = torch.softmax(c, -1).max(-1)
            for k in sorted(range(len(still)), key=lambda k: -float(best.values[k]))[:count]:
                x[still[k]] = int(best.indices[k])
        return x

    def texts(self, prompts, s):
        out = []
        for prompt in prompts:
            ids, parts = self.tokenizer(prompt)["input_ids"], []
            for _ in range(s["passes"]):
                if len(ids) >= s["length"]:
                    break
                x = self.write(ids, s["length"], s["steps"])
                parts.append(self.tokenizer.decode(x[len(ids):], skip_special_tokens=True, clean_up_tokenization_spaces=False))
                ids = self.tokenizer(self.tokenizer.decode(x, skip_special_tokens=True, clean_up_tokenization_spaces=False))["input_ids"]
            out.append("\n".join(p for i, p in enumerate(parts)))
        return out


def compare_texts(a, model, tokenizer, task, out):
    lines = [json.loads(line) for line in open(os.path.join(out, f"samples_{task}.jsonl"))]
    got, settings = [o["filtered_resps"][0] for o in lines], lines[0]["arguments"][0][1]
    want = Confidence(model, tokenizer, a.cfg).texts([o["arguments"][0][0] for o in lines], settings)
    print(f"{task}: {len(got)} texts, {sum(g != w for g, w in zip(got, want))} are others", flush=True)


def ask_harness(a, model, tokenizer, requests):
    """Answers, and (clock, processor time, batch) of each batch size."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    times, want = [], None
    for size in a.batches.split(","):
        lm = HFLM(pretrained=model.to(getattr(torch, {"f32": "float32"}.get(a.hf_precision or a.precision, "bfloat16"))), tokenizer=tokenizer, batch_size=int(size), device="cpu")
        asked = [Instance("loglikelihood", {}, r, i) for i, r in enumerate(requests)]
        clock, cpu = time.time(), processor(resource.RUSAGE_SELF)
        want = lm.loglikelihood(asked, disable_tqdm=True)
        times.append((time.time() - clock, processor(resource.RUSAGE_SELF) - cpu, size))
    return want, times


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
    if task.startswith("lambada"):
        print("    perplexity: mdm {:.6g}, theirs {:.6g}".format(*(math.exp(-sum(x[0] for x in v) / len(v)) for v in (got, want))))
    sys.stdout.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--arch", default="gpt2", choices=["gpt2", "llama", "mdm"])
    p.add_argument("--size", default="124M", choices=list(SIZES))
    p.add_argument("--tasks", default="hellaswag,boolq")
    p.add_argument("--limit", type=int, default=100)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"], help="of mdm; numbers compare in f32 only")
    p.add_argument("--hf-precision", choices=["f32", "bf16"], help="of HFLM; not given: mdm's (left alone, mdm takes bf16 and lm_eval the f32 of the weights)")
    p.add_argument("--batches", default="1,8,32")
    p.add_argument("--mdm", default="build/mdm")
    p.add_argument("--oracle", help="folder of refmodel.py, for --arch mdm")
    p.add_argument("--cfg", type=float, default=0.5)
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as d:
        folder = os.path.join(d, "model")
        model = make_mdm(a.oracle, folder) if a.arch == "mdm" else make_model(a.arch, a.size, folder)
        tokenizer = AutoTokenizer.from_pretrained(a.tokenizer)
        for task in a.tasks.split(","):
            out = os.path.join(d, task)
            os.sync()  # the model's file was just written: neither is to wait for the disk
            start, whole = (fastest(a, folder, task, out + name, limit) for name, limit in (("1", 1), ("", a.limit)))
            if task in WRITTEN:
                compare_texts(a, model, tokenizer, task, out)
                continue
            requests, got, items = read_samples(out, task)
            if a.arch == "mdm":
                want = ChainRule(model, tokenizer, a.cfg).loglikelihood(requests, task.startswith("lambada"))
                compare(task, requests, got, want, items)
                continue
            want, times = ask_harness(a, model, tokenizer, requests)
            compare(task, requests, got, want, items)
            mdm = [w - s for w, s in zip(whole, start)]
            clock, cpu = min(times), min(times, key=lambda t: t[1])
            print(f"    clock: mdm {mdm[0]:.1f} s, HFLM {clock[0]:.1f} s at batch {clock[2]}: {clock[0] / mdm[0]:.2f} times; "
                  f"processor: {mdm[1]:.1f} and {cpu[1]:.1f} s at batch {cpu[2]}: {cpu[1] / mdm[1]:.2f} times", flush=True)


if __name__ == "__main__":
    sys.exit(main())

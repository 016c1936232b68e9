"""mdm against PyTorch on this CPU: the same model, weights file, batch shapes and work, each at its best honest settings.

    python bench/compare_torch.py [--model 6] [--mdm build/mdm] [--threads N] [--parts train,confidence,ancestral,chain] [--plain-malloc]

Needs torch, numpy and safetensors (not needed by anything else here). PyTorch runs with fused attention (SDPA), bfloat16 autocast
where the CPU multiplies bfloat16 and float32 elsewhere, inference_mode, fused AdamW, with and without torch.compile, and in two
ways: "rows" takes the head on the wanted rows only, as mdm does; "published" takes it at every position and picks the rows
afterwards, as the published system does. The ratio to the best of each way is printed. glibc's malloc is told to keep what PyTorch
frees, with which it trains a third faster than as installed (--plain-malloc leaves that out). mdm runs as its commands, timed by
themselves: loading is not part of it, nor of PyTorch's times. Both take turns, and each keeps its best turn (in training the best
turn of each step, since steps mask more or less): shared machines drift.

Work: train       8 steps (after 2 that warm up) of 2 micro-batches, MDM objective, gradient clipping, AdamW: tokens/s
      confidence  confidence sampling, 32 steps, temperature 0.7: tokens/s
      ancestral   ancestral sampling, 128 steps, temperature 1: tokens/s
      chain       chain-rule likelihood of 16-token targets after 112-token prefixes: items/s"""
import argparse
import csv
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

SHAPES = {"6": (6, 4, 256, 1024), "19": (8, 6, 384, 1536), "34": (8, 8, 512, 2048), "113": (12, 12, 768, 3072),
          "170": (18, 12, 768, 3072)}
VOCAB, MASK, BLOCK = 32000, 32000, 2048
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 33), "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 30)}
WARM = 2  # training steps before the clock counts


def native_bf16():
    with open("/proc/cpuinfo") as f:
        return re.search(r"\b(avx512_bf16|amx_bf16)\b", f.read()) is not None


class Model(torch.nn.Module):
    """The network of docs/model.md as a PyTorch user would write it for speed: fused q/k/v, SDPA, no mask."""

    def __init__(self, name, seed):
        super().__init__()
        self.L, self.H, self.E, self.F = SHAPES[name]
        g = torch.Generator().manual_seed(seed)
        self.names = {}

        def param(key, *shape, std=None):
            value = torch.ones(shape) if std is None else torch.randn(*shape, generator=g) * std
            p = torch.nn.Parameter(value)
            self.register_parameter(key.replace(".", "_"), p)
            self.names[key] = p
            return p

        E, std = self.E, math.sqrt(2 / 5 / self.E)
        self.wte = param("transformer.wte.weight", VOCAB + 1, E, std=std)
        self.layers = []
        for i in range(self.L):
            p = f"transformer.h.{i}."
            self.layers.append((param(p + "norm_1.weight", E), param(p + "attn.attn.weight", 3 * E, E, std=std),
                                param(p + "attn.proj.weight", E, E, std=std), param(p + "norm_2.weight", E),
                                param(p + "mlp.swiglu.w1.weight", self.F, E, std=std),
                                param(p + "mlp.swiglu.w2.weight", self.F, E, std=std),
                                param(p + "mlp.swiglu.w3.weight", E, self.F, std=std)))
        self.ln_f = param("transformer.ln_f.weight", E)
        self.head = param("lm_head.weight", VOCAB, E, std=std)
        D = E // self.H
        angle = torch.outer(torch.arange(BLOCK).float(), 1 / 10000 ** (torch.arange(0, D, 2) / D))
        self.register_buffer("cos", angle.cos().bfloat16().float(), persistent=False)
        self.register_buffer("sin", angle.sin().bfloat16().float(), persistent=False)

    def body(self, ids):
        """ids [B, T] -> normed rows [B, T, E]."""
        B, T = ids.shape
        x = F.embedding(ids, self.wte)
        cos, sin = self.cos[:T], self.sin[:T]

        def rotate(v):
            a, b = v.chunk(2, dim=-1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

        for n1, attn, proj, n2, w1, w2, w3 in self.layers:
            n = F.rms_norm(x, (self.E,), n1, 1e-5)
            q, k, v = F.linear(n, attn).view(B, T, self.H, 3, -1).permute(3, 0, 2, 1, 4)  # the published order
            y = F.scaled_dot_product_attention(rotate(q).to(v.dtype), rotate(k).to(v.dtype), v)
            x = x + F.linear(y.transpose(1, 2).reshape(B, T, self.E), proj)
            n = F.rms_norm(x, (self.E,), n2, 1e-5)
            x = x + F.linear(F.silu(F.linear(n, w1)) * F.linear(n, w2), w3)
        return F.rms_norm(x, (self.E,), self.ln_f, 1e-5)


class Torch:
    def __init__(self, model, body, bf16, everywhere):
        self.model, self.body, self.bf16, self.everywhere = model, body, bf16, everywhere

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)

    def logits(self, ids, rows):
        with self.autocast():
            if self.everywhere:
                return F.linear(self.body(ids), self.model.head)[rows].float()
            return F.linear(self.body(ids)[rows], self.model.head).float()

    def train(self, steps, micro, length):
        opt = torch.optim.AdamW(self.model.parameters(), lr=2e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        g = torch.Generator().manual_seed(1)
        took = []
        for _ in range(WARM + steps):
            start = time.perf_counter()
            for _ in range(2):
                ids = torch.randint(0, VOCAB, (micro, length), generator=g)
                p = (1 - 1e-3) * torch.rand(micro, 1, generator=g) + 1e-3
                masked = torch.rand(micro, length, generator=g) < p
                z = self.logits(torch.where(masked, MASK, ids), masked)
                ce = F.cross_entropy(z, ids[masked], reduction="none")
                ((ce / p.expand_as(masked)[masked]).sum() / (2 * micro * length)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            opt.step()
            opt.zero_grad()
            took.append(time.perf_counter() - start)
        return [2 * micro * length / t for t in took[WARM:]]

    @torch.inference_mode()
    def sample(self, prompt, length, steps, count, temperature, confidence):
        x = torch.full((count, length), MASK)
        x[:, : len(prompt)] = torch.tensor(prompt)
        times = torch.linspace(1, 1e-5, steps + 1)
        start = time.perf_counter()
        for i in range(steps):
            masked, p = x == MASK, 1 - times[i + 1] / times[i] if i < steps - 1 else torch.tensor(1.0)
            left = masked.sum(1)
            k = (left * p).int()
            if not confidence:
                masked &= torch.rand(x.shape) < p
            if not masked.any() or (confidence and not k.any()):
                continue
            z = self.logits(x, masked).double()
            value = (z.exp() / (-torch.log(torch.rand_like(z))) ** temperature).argmax(-1)
            if not confidence:
                x[masked] = value
                continue
            sure = torch.full(x.shape, -1.0, dtype=torch.float64)
            sure[masked] = z.softmax(-1).gather(-1, value[:, None])[:, 0]
            full = torch.zeros_like(x)
            full[masked] = value
            for s in range(count):
                best = sure[s].topk(int(k[s])).indices
                x[s, best] = full[s, best]
        return [count * (length - len(prompt)) / (time.perf_counter() - start)]

    @torch.inference_mode()
    def chain(self, items):
        start = time.perf_counter()
        total = []
        for prefix, target in items:
            n = len(target)
            ids = torch.tensor(prefix + target).repeat(n, 1)
            for i in range(n):
                ids[i, len(prefix) + i:] = MASK
            rows = torch.zeros(ids.shape, dtype=torch.bool)
            rows[torch.arange(n), len(prefix) + torch.arange(n)] = True
            total.append(float(F.cross_entropy(self.logits(ids, rows), torch.tensor(target), reduction="sum")))
        return len(items) / (time.perf_counter() - start), total


class Mdm:
    def __init__(self, path, folder, name, threads, bf16):
        self.path, self.folder, self.name = path, folder, name
        self.common = ["--threads", str(threads), "--precision", "bf16" if bf16 else "f32"]
        self.weights = ["--weights", f"{folder}/model.safetensors", "--model", name, "--family", "mdm"]

    def run(self, *args, stdin=""):
        env = {k: v for k, v in os.environ.items() if k not in KEEP_MEMORY}
        r = subprocess.run([self.path, *args, *self.common], input=stdin, capture_output=True, text=True, env=env)
        if r.returncode:
            sys.exit(f"{' '.join(r.args)}\n{r.stderr}")
        return r

    def train(self, steps, micro, length):
        out = tempfile.mkdtemp(dir=self.folder)
        self.run("pretrain", "--model", self.name, "--vocab", str(VOCAB), "--data", f"{self.folder}/data", "--out", out,
                 "--steps", str(WARM + steps), "--batch", str(2 * micro), "--micro-batch", str(micro), "--length", str(length),
                 "--eval-every", "1000000", "--save-every", "1000000", "--quiet")
        with open(f"{out}/metrics.csv") as f:
            return [float(r["tokens_per_s"]) for r in list(csv.DictReader(f))[WARM:]]

    def sample(self, prompt, length, steps, count, temperature, confidence):
        r = self.run("generate", *self.weights, "--prompt-ids", ",".join(map(str, prompt)), "--length", str(length), "--steps",
                     str(steps), "--count", str(count), "--temperature", str(temperature), "--sampler",
                     "confidence" if confidence else "ancestral", "--output", "ids")
        return [float(re.search(r"([\d.]+) tokens/s", r.stderr).group(1))]

    def chain(self, items):
        lines = "".join(json.dumps({"prefix": p, "target": t}) + "\n" for p, t in items)
        r = self.run("score", *self.weights, "--likelihood", "chain", stdin=lines)
        seconds = float(re.search(r"items in ([\d.]+) s", r.stderr).group(1))
        return len(items) / seconds, [json.loads(x)["nll"] for x in r.stdout.splitlines()]


def write_data(folder):
    """One chunk file of random tokens (docs/formats.md)."""
    os.makedirs(f"{folder}/data")
    n = 2049 * 256
    with open(f"{folder}/data/train_random_0_0000000000.bin", "wb") as f:
        f.write(b"LITPKDS" + struct.pack("<QBQ", 1, 8, n))
        f.write(np.random.default_rng(1).integers(0, VOCAB, n, dtype=np.uint16).tobytes())


def best_of(turns, *runs):
    """Each run's rate, from the best of some turns, taken alternately. A run returns the rates of equal pieces of work."""
    best = [run() for run in runs]
    for _ in range(turns - 1):
        for i, run in enumerate(runs):
            best[i] = [max(a, b) for a, b in zip(best[i], run())]
    return [len(rates) / sum(1 / r for r in rates) for rates in best]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--model", default="6", choices=SHAPES)
    ap.add_argument("--mdm", default="build/mdm")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--turns", type=int, default=2)
    ap.add_argument("--no-compile", action="store_true")
    ap.add_argument("--parts", default="train,confidence,ancestral,chain")
    ap.add_argument("--plain-malloc", action="store_true")
    ap.add_argument("--micro", type=int, default=8)
    ap.add_argument("--length", type=int, default=512)
    a = ap.parse_args()
    if not a.plain_malloc and not KEEP_MEMORY.keys() <= os.environ.keys():  # malloc reads them when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
    torch.set_num_threads(a.threads)
    bf16 = native_bf16()
    with tempfile.TemporaryDirectory() as folder:
        model = Model(a.model, 1)
        save_file({k: p.detach().contiguous() for k, p in model.names.items()}, f"{folder}/model.safetensors")
        write_data(folder)
        ours = Mdm(a.mdm, folder, a.model, a.threads, bf16)
        bodies = {"": model.body}
        if not a.no_compile:
            bodies[" compiled"] = torch.compile(model.body)
        theirs = {way + how: Torch(model, body, bf16, way == "published")
                  for way in ("rows", "published") for how, body in bodies.items()}
        print(f"model {a.model}, {a.threads} threads, {'bf16' if bf16 else 'f32'}, torch {torch.__version__}", flush=True)
        rng = np.random.default_rng(2)

        def ids(n):
            return rng.integers(3, VOCAB, n).tolist()

        prompt, items = ids(16), [(ids(112), ids(16)) for _ in range(8)]
        wide, steps = min(a.length, 256), 32
        work = {"confidence": lambda e: e.sample(prompt, wide, steps, 2, 0.7, True),
                "ancestral": lambda e: e.sample(prompt, wide, 128, 2, 1.0, False),
                "chain": lambda e: [e.chain(items)[0]],
                "train": lambda e: e.train(8, a.micro, a.length)}  # last: it changes the weights
        for part in sorted(a.parts.split(","), key=list(work).index):
            if part == "chain":
                got, want = ours.chain(items)[1], theirs["rows"].chain(items)[1]
                worst = max(abs(x / y - 1) for x, y in zip(got, want))
                print(f"chain: largest relative difference between the two: {worst:.1e}")
                if worst > (2e-2 if bf16 else 1e-4):
                    sys.exit("the two do not compute the same")
            for name, e in theirs.items():
                if name.endswith("compiled"):
                    work[part](e)  # compile before the clock counts
            rates = best_of(a.turns, lambda: work[part](ours), *[lambda e=e: work[part](e) for e in theirs.values()])
            unit = "items/s" if part == "chain" else "tokens/s"
            others = ", ".join(f"{n} {r:.1f}" for n, r in zip(theirs, rates[1:]))
            ratio = {way: rates[0] / max(r for n, r in zip(theirs, rates[1:]) if n.startswith(way)) for way in ("rows", "published")}
            print(f"{part:11s} mdm {rates[0]:.1f} {unit}; torch {others}; ratio to rows {ratio['rows']:.2f}, to published "
                  f"{ratio['published']:.2f}", flush=True)


if __name__ == "__main__":
    main()

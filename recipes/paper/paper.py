#!/usr/bin/env python3
"""The paper in a box: the claims of arXiv 2410.18514 (masked diffusion against autoregressive models) run again at laptop scale.

    make paper                        16 minutes on two Zen 5 cores, an hour and a half on two Zen 3; the same command goes on after a stop
    PAPER=night make paper            larger models that learn longer: 69 minutes on two Zen 5 cores
    PAPER=weekend make paper          larger again; word problems and law of this size were never run
    PAPER_TEXT=DIR PAPER_LATER=DIR …  text to learn, and text of another period, as .txt files (default: Debian packages)
    PAPER_EVAL=DIR …                  zero-shot tasks as mdm eval reads them (besides cloze questions about held-out text)
    PAPER_FACTS=DIR …                 the reversed facts' published files (default: invented here)

    recipes/paper/paper.py MDM OUT [--size smoke|hour|night|weekend]

Everything lands in OUT; report.html is the result. Each experiment is a function below, from what it needs to the numbers it returns;
what they are made of is made.py's, how they are shown report.py's. Every program call is recorded with its words, so that the
report can tell where a number comes from, and not made again once it has ended well, unless the file or folder that it wrote is gone by the next start
(what was computed from that stays)."""
import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import made
import report

SMALL = {"block_size": 1024, "norm_eps": 1e-5, "rope_bf16": True}
SIZES = {
    # Steps are fixed, not seconds: any machine makes the same trainings, but for the rounding of its arithmetic (bf16 or f32).
    "smoke": dict(vocab=512, layers=1, width=64, steps=30, batch=8, length=64, law=("2e9,8e9", 2, 32, 2, "1e-3", 60), questions=8, draws=16,
                  people=2, fact_epochs=1, problems=64, problem_epochs=1, problem_length=256, problem_tests=8, samples=2, chunks=8),
    "hour": dict(vocab=2048, layers=4, width=192, steps=1000, batch=16, length=256, law=("5e11,1e12,2e12", 4, 128, 16, "8e-3", 2), questions=500,
                 draws=16, people=10, fact_epochs=50, problems=2000, problem_epochs=5, problem_length=128, problem_tests=100, samples=16,
                 chunks=200),
    "night": dict(vocab=2048, layers=6, width=256, steps=2000, batch=16, length=256, law=("1e12,2e12,4e12,8e12", 5, 128, 16, "8e-3", 2), questions=500,
                  draws=16, people=10, fact_epochs=60, problems=2000, problem_epochs=10, problem_length=128, problem_tests=100, samples=16,
                  chunks=400),
    "weekend": dict(vocab=4096, layers=8, width=384, steps=2000, batch=32, length=256, law=("5e12,1e13,2e13,4e13,8e13", 6, 128, 16, "8e-3", 2), questions=1000,
                    draws=32, people=20, fact_epochs=50, problems=4000, problem_epochs=12, problem_length=128, problem_tests=500, samples=32,
                    chunks=800),
}
FAMILIES = ("mdm", "arm")
CHEAPER = {"mdm": ["--recipe", "fast"], "arm": ["--optimizer", "muon"]}  # docs/training.md: at this scale the published recipe's MDM has hardly begun to learn
RATE = "4e-3"  # of all trainings but the law's
ASKED = ("p2d_prompts_test", "p2d_reverse_prompts_test", "d2p_prompts_test", "d2p_reverse_prompts_test")  # files of facts that mdm eval reads
ZERO_SHOT = ("hellaswag", "openbookqa", "arc_easy", "boolq", "piqa", "social_iqa", "race", "lambada_standard", "lambada_openai")  # what mdm eval calls all
SAMPLING_STEPS = (16, 32, 64, 128, 256)
# Optima read off the published plots: budget, then L* and N* of both families.
PUBLISHED = """family,flops,params,loss
""" + "".join(f"mdm,{c},{n}e6,{l}\n" for c, n, l in zip("6e18 1e19 3e19 6e19 1e20".split(), (84, 112, 228, 360, 480), (3.374, 3.261, 3.042, 2.916, 2.830))) \
    + "".join(f"arm,{c},{n}e6,{l}\n" for c, n, l in zip("6e18 1e19 3e19 6e19 1e20".split(), (153, 224, 444, 643, 993), (2.845, 2.749, 2.556, 2.448, 2.377)))


def written(line):
    """The file or folder that a call, as it is recorded, writes."""
    words = shlex.split(line)
    return words[-1] if ">" in words else words[words.index("--out") + 1]


class Stopped(Exception):
    """By Ctrl-C, SIGTERM or a terminal that is gone."""


class Paper:
    def __init__(self, mdm, out, size, sources):
        self.mdm, self.out, self.size, self.sources = os.path.abspath(mdm), os.path.abspath(out), size, sources
        self.__dict__.update(SIZES[size])
        os.makedirs(self.out, exist_ok=True)
        os.chdir(self.out)
        version = subprocess.run([self.mdm, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        settings = {"size": size, "numbers": json.loads(json.dumps(SIZES[size])), "program": version, **sources, **{f"digest of {k}": made.digest(v) for k, v in sources.items() if v}}
        if os.path.exists("paper.json") and json.load(open("paper.json")) != settings:
            raise SystemExit(f"paper: {self.out} was begun with {json.load(open('paper.json'))}; expected the same, found {settings}; "
                             "give another folder (PAPER_OUT) or remove it")
        self.write("paper.json", json.dumps(settings))
        self.calls, self.child, self.stopped = {}, None, False
        if os.path.exists("calls.jsonl"):
            for line in open("calls.jsonl", errors="replace"):
                try:
                    call = json.loads(line)
                except ValueError:
                    continue  # the machine stopped while this line was written
                if call.get("status", 0) == 0 and os.path.exists(written(call["words"])):  # an earlier version kept some that had failed
                    self.calls[call["words"]] = call
            self.write("calls.jsonl", "".join(json.dumps(call) + "\n" for call in self.calls.values()))  # what follows begins a line
        self.used = []

    def write(self, path, text):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path + ".tmp", "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(path + ".tmp", path)

    def stop(self, *_):
        """A signal's handler."""
        if not self.stopped and self.child:
            self.child.terminate()
        self.stopped = True

    def run(self, *words, into=None, done=lambda: False):
        """One call of the program, from OUT; its number in the report. Standard output goes to the file `into`. done: was all done in spite of an error?"""
        if self.stopped:
            raise Stopped
        words = [str(w) for w in words]
        line = shlex.join(["mdm"] + words) + (f" > {into}" if into else "")
        if line not in self.calls:
            print(f"\n$ {line}", flush=True)
            began = time.monotonic()
            output = open(into + ".tmp", "w") if into else None
            # In a group of its own: a Ctrl-C, or a signal to the whole group, reaches it once, through stop(); a second one would end it unsaved.
            self.child = subprocess.Popen([self.mdm] + words, stdout=output, stdin=subprocess.DEVNULL, process_group=0)
            if self.stopped:
                self.child.terminate()  # the signal came before there was a child
            status = self.child.wait()  # a stopped one saves
            self.child = None
            if self.stopped:
                raise Stopped
            if status != 0 and not done():
                raise SystemExit(f"paper: mdm {words[0]} ended with status {status}; the same command goes on from here")
            if into:
                output.flush()
                os.fsync(output.fileno())
                output.close()
                os.replace(into + ".tmp", into)
            self.calls[line] = {"words": line, "seconds": time.monotonic() - began, "build": made.digest_file(self.mdm)}
            with open("calls.jsonl", "a") as f:
                f.write(json.dumps(self.calls[line]) + "\n")
                f.flush()
                os.fsync(f.fileno())
        if line not in self.used:
            self.used.append(line)
        return self.used.index(line) + 1

    def builds(self):
        """How many different builds of the program made what the report tells."""
        return len({self.calls[line]["build"] for line in self.used if "build" in self.calls[line]})

    def seconds(self, number):
        return self.calls[self.used[number - 1]]["seconds"]


def results(folder):
    return json.load(open(os.path.join(folder, "results.json")))["results"]


def n_samples(folder):
    return json.load(open(os.path.join(folder, "results.json")))["n-samples"]


def left_out(folder):
    """Items that were not asked: too long for the model, or not readable."""
    return sum(n.get("skipped", 0) for n in n_samples(folder).values())


def all_asked(folder, tasks):
    """Also where of some task all items are too long for the model: an error, behind which the other tasks are asked."""
    n = n_samples(folder) if os.path.exists(os.path.join(folder, "results.json")) else {}
    return set(n) == set(tasks) and not any(of.get("unfinished") or not of["effective"] and not of["skipped"] for of in n.values())


def right(samples):
    """Of each item, by its number, whether it was answered rightly."""
    return {row["doc_id"]: row["acc"] for row in map(json.loads, open(samples)) if "acc" in row}


def chunks(samples):
    """Nats per token of each chunk, by group."""
    found = {}
    for row in map(json.loads, open(samples)):
        found.setdefault(row["group"], {})[row["doc"]["chunk"]] = -row["perplexity"] / row["doc"]["tokens"]
    return found


def last_validation(run):
    rows = [r for r in csv.DictReader(open(os.path.join(run, "metrics.csv"))) if r["valid_loss"]]
    return float(rows[-1]["valid_loss"])


def text(p):
    """Documents → tokenizer → chunks."""
    sources = made.text_files(p.sources["text"]) if p.sources["text"] else made.debian_text()
    train, p.held = made.split(sources)
    made.passages(p.held)
    made.write_lines("text/train.jsonl", [{"text": d} for d in train])
    made.write_lines("text/heldout.jsonl", [{"text": d} for d in p.held])
    commands = [p.run("tokenizer", "train", "--vocab", p.vocab, "--out", "tokenizer.json", "text/train.jsonl"),
                p.run("prepare", "--tokenizer", "tokenizer.json", "--out", "data", "text/train.jsonl"),
                p.run("prepare", "--tokenizer", "tokenizer.json", "--out", "data", "--split", "validation", "text/heldout.jsonl")]
    return {"commands": commands, "characters": sum(map(len, train)), "held": sum(map(len, p.held))}


def pretraining(p):
    """One model of each family, of equal size and compute."""
    found = {"commands": [], "loss": {}}
    for family in FAMILIES:
        p.write(f"{family}.json", json.dumps({
            **SMALL, "family": family, "vocab_size": p.vocab, "padded_vocab_size": p.vocab, **({"mask_id": p.vocab} if family == "mdm" else {}),
            "n_layer": p.layers, "n_head": p.width // 64, "n_query_groups": p.width // 64, "n_embd": p.width, "intermediate_size": 4 * p.width}))
        found["commands"].append(p.run(
            "pretrain", "--objective", family, "--model", f"{family}.json", "--data", "data", "--out", family, "--steps", p.steps,
            "--length", p.length, "--batch", p.batch, *CHEAPER[family], "--lr", RATE, "--seed", 1, "--mc", 4, "--valid-sequences", 256))
        found["loss"][family] = last_validation(family)
    found["commands"].append(p.run("plot", *FAMILIES, "--x", "tokens", "--out", "loss.svg"))
    return found


def scaling(p):
    """Isoflop curves of both families, the frontier's lines, the factor of compute between them; and the published optima again."""
    budgets, sizes, length, batch, lr, around = p.law
    p.run("scale", "plan", "--budgets", budgets, "--data", "data", "--out", "law", "--sizes", sizes, "--around", around, "--length", length,
          "--batch", batch, "--lr", lr, "--recipe", "fast")
    run = p.run("scale", "run", "--out", "law", "--jobs", 2)  # such small models gain little by a second thread
    ours = p.run("scale", "fit", "--points", "law", "--out", "law/fit")
    p.write("published.csv", PUBLISHED)
    published = p.run("scale", "fit", "--points", "published.csv", "--out", "law/published")
    points = list(csv.DictReader(open("law/points.csv")))
    best = {}
    for r in points:
        at = r["family"], float(r["flops"])
        best[at] = min(best.get(at, (9e9,)), (float(r["loss"]), float(r["loss_error"]), float(r["params"])))
    return {"commands": [run, ours, published], "best": best, "ours": json.load(open("law/fit/fit.json")), "published": json.load(open("law/published/fit.json"))}


def guidance(p):
    """Zero-shot questions with unsupervised guidance and without."""
    made.write_lines("questions/cloze/test.jsonl", made.cloze(p.held, p.questions, 1))
    sets = [("cloze", "cloze", "questions", p.questions)] + ([("tasks", ",".join(ZERO_SHOT), p.sources["eval"], p.questions // 5)] if p.sources["eval"] else [])
    found = {"commands": [], "results": {}, "items": {}, "left out": {}}
    for name, words in (("MDM, no guidance", ["--weights", "mdm", "--cfg", 0]), ("MDM, guidance", ["--weights", "mdm"]), ("ARM", ["--weights", "arm"])):
        found["results"][name], found["items"][name], found["left out"][name] = {}, {}, 0
        for kind, tasks, folder, limit in sets:
            draws = ["--mc", p.draws] if kind == "tasks" and name != "ARM" else []  # cloze goes by the chain rule
            out = f"eval/{kind}-" + name.replace(",", "").replace(" ", "-").lower()
            found["commands"].append(p.run("eval", "--tasks", tasks, "--data", folder, "--limit", limit, "--keep-going", *words, *draws, "--out", out,
                                           done=lambda: all_asked(out, tasks.split(","))))
            found["results"][name].update(results(out))
            found["left out"][name] += left_out(out)
            found["items"][name].update({task: right(f"{out}/samples_{task}.jsonl") for task in results(out)})
    return found


def reversal(p):
    """Facts about invented people, asked in the direction they were taught in and in the other one."""
    folder = "facts/reverse"
    if p.sources["facts"]:
        os.makedirs("facts", exist_ok=True)
        if not os.path.islink(folder):
            os.symlink(p.sources["facts"], folder)
    else:
        for name, rows in made.facts(p.people, 1).items():
            made.write_lines(f"facts/reverse/{name}.jsonl", rows)
    asked = [json.loads(line) for name in ASKED for line in open(f"{folder}/{name}.jsonl")]
    made.write_lines("facts/texts.jsonl", [{"text": row["prompt"] + row["completion"]} for row in asked])
    p.run("tokenizer", "encode", "--tokenizer", "tokenizer.json", "facts/texts.jsonl", into="facts/ids.jsonl")
    length = 1 + max(len(json.loads(line)["ids"]) for line in open("facts/ids.jsonl"))  # what is written is no longer than the longest fact and its end
    rows = sum(1 for _ in open(f"{folder}/all_prompts_train.jsonl"))
    epochs = max(1, round(p.fact_epochs * made.EXAMPLES * p.people / rows))  # as many examples as of invented people, however many facts there are
    found = {"commands": [], "results": {}}
    for family in FAMILIES:
        found["commands"].append(p.run("finetune", "--task", "reverse", "--weights", family, "--data", f"{folder}/all_prompts_train.jsonl",
                                       "--out", f"facts-{family}", "--epochs", epochs, *CHEAPER[family], "--lr", RATE, "--group", 16, "--seed", 1))
        found["commands"].append(p.run("eval", "--tasks", "reverse_ntd,reverse_dtn", "--weights", f"facts-{family}", "--data", "facts",
                                       "--length", length, "--out", f"eval/facts-{family}"))
        found["results"][family] = results(f"eval/facts-{family}")
    return found


def periods(p):
    """Perplexity on held-out text of the training text's period and on text of another one."""
    made.write_lines("periods/perplexity/same.jsonl", [{"text": d} for d in made.shuffled(p.held, 1)])
    later = made.text_files(p.sources["later"]) if p.sources["later"] else {} if p.sources["text"] else made.debian_later()
    for name, found in later.items():
        made.write_lines(f"periods/perplexity/later-{name}.jsonl", [{"text": d} for d in made.shuffled(found, 1)])
    found = {"commands": [], "results": {}, "chunks": {}}
    for family in FAMILIES:
        found["commands"].append(p.run("eval", "--tasks", "perplexity", "--weights", family, "--data", "periods", "--length", p.length,
                                       "--limit", p.chunks, *(["--mc", p.draws] if family == "mdm" else []), "--out", f"eval/periods-{family}"))
        found["results"][family] = results(f"eval/periods-{family}")
        found["chunks"][family] = chunks(f"eval/periods-{family}/samples_perplexity.jsonl")
    return found


def speed(p):
    """Text written by the ARM with its cache and by the MDM in fewer and more steps; how fast, and how good is it?"""
    made.write_lines("samples/openings.jsonl", [{"prompt": o} for o in made.openings(p.held, p.samples, 16, 1)])
    found = {"rows": []}
    total = min(128, p.length)
    for name, words in [("ARM, cache", ["--weights", "arm", "--end-id", -1])] + [(f"MDM, {s} steps", ["--weights", "mdm", "--sampler", "ancestral", "--steps", s]) for s in SAMPLING_STEPS]:
        samples = "samples/" + name.replace(",", "").replace(" ", "-").lower() + ".jsonl"
        wrote = p.run("generate", *words, "--prompts", "samples/openings.jsonl", "--length", total, "--temperature", 1, "--seed", 1, "--output", "json", into=samples)
        rows = [json.loads(line) for line in open(samples)]
        asked = samples[:-6] + "-to-score.jsonl"
        made.write_lines(asked, [{"prefix": row["ids"][:row["prompt_tokens"]], "target": row["ids"][row["prompt_tokens"]:]} for row in rows])
        judged = p.run("score", "--weights", "arm", asked, into=samples[:-6] + "-scores.jsonl")
        scores = [json.loads(line) for line in open(samples[:-6] + "-scores.jsonl")]
        pairs = [pair for row in rows for pair in zip(row["ids"][row["prompt_tokens"]:], row["ids"][row["prompt_tokens"] + 1:])]
        found["rows"].append({"name": name, "commands": [wrote, judged], "tokens": sum(s["tokens"] for s in scores), "seconds": p.seconds(wrote),
                              "nll": sum(s["nll"] for s in scores) / sum(s["tokens"] for s in scores), "distinct": len(set(pairs)) / max(1, len(pairs))})
    return found


def arithmetic(p):
    """Word problems in GSM8K's form: first the calculations, then the answer."""
    train, test = made.problems(p.problems, p.problem_tests, 1)
    p.write("problems/train.txt", "".join(f"{q}||{work} #### {a}\n" for q, work, a in train))
    made.write_lines("problems/gsm8k/test.jsonl", [{"question": q, "answer": f"{work}\n#### {a}"} for q, work, a in test])
    found = {"commands": [], "results": {}}
    for family in FAMILIES:
        found["commands"].append(p.run("finetune", "--task", "gsm8k", "--weights", family, "--data", "problems/train.txt", "--out", f"problems-{family}",
                                       "--length", p.problem_length, "--epochs", p.problem_epochs, "--batch", 64, *CHEAPER[family], "--lr", RATE, "--seed", 1))
        found["commands"].append(p.run("eval", "--tasks", "gsm8k", "--weights", f"problems-{family}", "--data", "problems", "--length", p.problem_length,
                                       *(["--steps", 128] if family == "mdm" else []),
                                       "--out", f"eval/problems-{family}"))
        found["results"][family] = results(f"eval/problems-{family}")
    found["example"] = train[0]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mdm")
    parser.add_argument("out")
    parser.add_argument("--size", choices=SIZES, default="hour")
    arguments = parser.parse_args()
    sources = {k: os.path.abspath(v) if v else "" for k, v in ((k, os.environ.get("PAPER_" + k.upper())) for k in ("text", "later", "eval", "facts"))}
    for name, folder in sources.items():
        if folder and not os.path.isdir(folder):
            raise SystemExit(f"paper: PAPER_{name.upper()}: there is no folder {folder}")
    p = Paper(arguments.mdm, arguments.out, arguments.size, sources)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, p.stop)
    found = {f.__name__: f(p) for f in (text, pretraining, guidance, reversal, periods, speed, arithmetic, scaling)}
    p.write("report.html", report.page(p, found))
    print(f"\nreport: {os.path.join(p.out, 'report.html')}")


if __name__ == "__main__":
    try:
        main()
    except Stopped:
        sys.exit("paper: stopped; the same command goes on from here")

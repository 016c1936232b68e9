"""Asks lm-evaluation-harness 0.4.4 what it gives a model for documents of each task, and writes hashes.txt; compares every
request with what `build/tests/golden/test_tasks TASK DIR` prints, byte for byte.

    python -m venv venv && venv/bin/pip install lm-eval==0.4.4 'datasets<3.2' pyarrow
    venv/bin/python make.py [DATA]      DATA: the folder of released sets (eval/, gsm8k/, …), when there is one

The documents below are made up. They are written in the layouts of the original releases (originals/), as Hugging Face has
them in Parquet (parquet/) and as JSON lines with the harness's fields (lines/). The harness's own code builds the requests:
its tasks' yaml files and functions, on rows given to it instead of downloaded ones."""
import json
import os
import subprocess
import sys

os.environ["TQDM_DISABLE"] = "1"
import datasets
import lm_eval
import pyarrow
import pyarrow.parquet
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import load_yaml_config

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "../../.."))
YAML = {
    "hellaswag": "hellaswag/hellaswag", "openbookqa": "openbookqa/openbookqa", "arc_easy": "arc/arc_easy",
    "boolq": "super_glue/boolq/default", "piqa": "piqa/piqa", "social_iqa": "siqa/siqa", "race": "race/race",
    "lambada_standard": "lambada/lambada_standard", "lambada_openai": "lambada/lambada_openai",
}

# ---- made-up documents, as Hugging Face has them ----

MADE = {
    "hellaswag": [
        {"ind": 4, "activity_label": "Baking bread", "ctx_a": "A baker kneads dough.", "ctx_b": "the baker",
         "ctx": "", "endings": ["puts it away.", "throws it  at   a wall. ", " [substeps] Wait. [title] Then bake it.", "[a [b] c] sings"],
         "source_id": "x~1", "split": "val", "split_type": "indomain", "label": "2"},
        {"ind": 5, "activity_label": "Tying knots", "ctx_a": "[header] How to tie a knot [title] Take a rope. [step] Hold  it.",
         "ctx_b": "", "ctx": "", "endings": ["Pull.", "Push [not\nhere] hard.", "Sing ]loud[.", "Rest\u00a0"],
         "source_id": "x~2", "split": "val", "split_type": "zeroshot", "label": "0"},
        {"ind": 6, "activity_label": "\u00c9tude", "ctx_a": "She plays.", "ctx_b": "\u00e9CHO ANSWERS \u00c4",
         "ctx": "", "endings": ["a", "b", "c", "\u65e5\u672c"], "source_id": "x~3", "split": "val",
         "split_type": "zeroshot", "label": "3"},
    ],
    "openbookqa": [
        {"id": "1-1", "question_stem": "Ice is", "choices": {"text": ["cold water", "hot air", "a stone", "a song "], "label": ["A", "B", "C", "D"]}, "answerKey": "A"},
        {"id": "1-2", "question_stem": "A whale eats ", "choices": {"text": ["krill", "krill", "grass", "n/a"], "label": ["A", "B", "C", "D"]}, "answerKey": " B"},
    ],
    "arc_easy": [
        {"id": "M_1", "question": "Which one floats?", "choices": {"text": ["iron", "cork", "lead"], "label": ["A", "B", "C"]}, "answerKey": "B"},
        {"id": "M_2", "question": "What is \"wet\"?\nPick one.", "choices": {"text": ["rain", "sand", "fire", "wind", "dust"], "label": ["1", "2", "3", "4", "5"]}, "answerKey": "5"},
    ],
    "boolq": [
        {"question": "is the moon a planet", "passage": "Moon -- The moon turns around the earth.", "idx": 0, "label": 0},
        {"question": "does rain fall", "passage": "Rain -- It falls.\nOften. ", "idx": 1, "label": 1},
    ],
    "piqa": [
        {"goal": "Open a jar", "sol1": "turn its lid", "sol2": "turn \"its\" shelf's side", "label": 0},
        {"goal": "dry socks?", "sol1": "bury them ", "sol2": "hang them up \\ outside", "label": 1},
    ],
    "social_iqa": [
        {"context": "Ann lent Bo a book.", "question": "Why did Ann do this?", "answerA": "Bo likes reading", "answerB": "it rained", "answerC": "no reason", "label": "1"},
        {"context": "Cy left early. ", "question": "How does Cy feel?", "answerA": "tired", "answerB": "tall", "answerC": "15", "label": "3"},
    ],
    "race": [
        {"article": "Once there was a fox.\nIt ran.", "problems": [
            {"question": "The fox   _  .", "answer": "A", "options": ["ran", "sat", "flew", "sang"]},
            {"question": "What was there?", "answer": "D", "options": ["a dog", "it's a \"cat\"", "a\\b", "a fox"]},
            {"question": "The story is   _  .", "answer": "B", "options": ["long", "short", "sad\tand\nnew", "d\u00e9j\u00e0"]}]},
        {"article": "A 'quoted' article.", "problems": [
            {"question": "Who said it?", "answer": "C", "options": ["\u201cHe\u201d did", "no\u00a0one", "x\u200bz", "\U0001f600"]}]},
    ],
    "lambada_standard": [{"text": "the cat sat on the mat , and the dog on the cat"}, {"text": "she said `` no ''"}, {"text": "two  spaces  here"}],
    "lambada_openai": [{"text": "\"Where to?\" he asked.\n\n\"Home,\" said Ann. \"Take me home"}, {"text": "First line\nsecond one"}],
    "gsm8k": [
        {"question": "Tom has 2 eggs and buys 3. How many?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
        {"question": "How many dollars?\n", "answer": "It is #### not 7.\n#### 1,200 "},
    ],
    "reverse_ntd": [("same", {"prompt": "Known as Mo Reed,", "completion": " the first to map the sea."}),
                    ("reverse", {"prompt": "He who mapped the sea is", "completion": " Mo Reed"})],
    "mtbench": [{"question_id": 81, "category": "writing", "turns": ["Write a line.", "Now two."]}],
}


# ---- files ----

def write_lines(path, rows):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n")


def science(row, name):
    c = row["choices"]
    return {"id": row["id"], "question": {"stem": row[name], "choices": [{"text": t, "label": k} for t, k in zip(c["text"], c["label"])]},
            "answerKey": row["answerKey"]}


def without(row, *names):
    return {k: v for k, v in row.items() if k not in names}


def write_originals(d):
    write_lines(d + "/hellaswag/hellaswag_val.jsonl", [dict(r, label=int(r["label"])) for r in MADE["hellaswag"]])
    write_lines(d + "/openbookqa/test.jsonl", [science(r, "question_stem") for r in MADE["openbookqa"]])
    write_lines(d + "/openbookqa/dev.jsonl", [{"not": "this one"}])
    write_lines(d + "/arc_easy/ARC-Easy-Test.jsonl", [science(r, "question") for r in MADE["arc_easy"]])
    write_lines(d + "/boolq/val.jsonl", [dict(r, label=bool(r["label"])) for r in MADE["boolq"]])
    write_lines(d + "/piqa/valid.jsonl", [without(r, "label") for r in MADE["piqa"]])
    write_lines(d + "/piqa/valid-labels.lst", [str(r["label"]) for r in MADE["piqa"]])
    write_lines(d + "/social_iqa/dev.jsonl", [without(r, "label") for r in MADE["social_iqa"]])
    write_lines(d + "/social_iqa/dev-labels.lst", [r["label"] for r in MADE["social_iqa"]])
    for i, r in enumerate(MADE["race"]):
        write_lines(f"{d}/race/test/high/{i}.txt", [{
            "answers": [p["answer"] for p in r["problems"]], "options": [p["options"] for p in r["problems"]],
            "questions": [p["question"] for p in r["problems"]], "article": r["article"], "id": f"high{i}.txt"}])
    write_lines(d + "/lambada_standard/lambada_test_plain_text.txt", [" " + r["text"] + " " for r in MADE["lambada_standard"]])
    write_lines(d + "/lambada_openai/lambada_test.jsonl", MADE["lambada_openai"])
    write_lines(d + "/gsm8k/test.jsonl", MADE["gsm8k"])
    for name, pair in {"reverse_ntd": ("p2d_prompts_test", "d2p_reverse_prompts_test")}.items():
        for group, file in zip(("same", "reverse"), pair):
            write_lines(f"{d}/reverse/{file}.jsonl", [r for g, r in MADE[name] if g == group])
    write_lines(d + "/mt_bench/question.jsonl", MADE["mtbench"])


def harness_rows(name):
    if name == "race":
        return [dict(r, problems=str(r["problems"])) for r in MADE["race"]]
    return MADE[name]


def write_others(lines, parquet):
    for name in YAML:
        rows = harness_rows(name)
        write_lines(f"{lines}/{name}/{name}.jsonl", rows)
        split = load_yaml_config(task_yaml(name)).get("test_split") or "validation"
        if name == "race":  # a row a question, as another copy on Hugging Face has it
            rows = [{"example_id": f"high{i}.txt", "article": r["article"], **p} for i, r in enumerate(MADE["race"]) for p in r["problems"]]
        path = f"{parquet}/{name}/{'high/' if name == 'race' else ''}{split}-00000-of-00001.parquet"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


# ---- released sets, as their Hugging Face scripts make rows of them ----

def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def unscience(r, name):
    q = r["question"]
    return {"id": r["id"], name: q["stem"], "choices": {"text": [c["text"] for c in q["choices"]], "label": [c["label"] for c in q["choices"]]},
            "answerKey": r["answerKey"]}


def labelled(rows, path):
    with open(path) as f:
        return [(r, line.strip()) for r, line in zip(rows, f)]


def released(name, d):
    e = d + "/eval/" + name
    if name == "hellaswag":
        return [without(r, "query") for r in lines_of(e + "/hellaswag_val_lmeval_query.jsonl")]
    if name == "openbookqa":
        return [unscience(r, "question_stem") for r in lines_of(e + "/test.jsonl")]
    if name == "arc_easy":
        return [unscience(r, "question") for r in lines_of(e + "/ARC-Easy-Test.jsonl")]
    if name == "boolq":
        return [dict(r, label=int(str(r["label"]).lower() == "true")) for r in lines_of(e + "/superglue_val.jsonl")]
    if name == "piqa":
        return [dict(r, label=int(x)) for r, x in labelled(lines_of(e + "/valid.jsonl"), e + "/valid-labels.lst")]
    if name == "social_iqa":
        return [dict(r, label=x) for r, x in labelled(lines_of(e + "/dev.jsonl"), e + "/dev-labels.lst")]
    if name == "race":
        return lines_of(e + "/race_high_sample_lmeval.jsonl")
    if name == "lambada_standard":
        with open(e + "/lambada_test_plain_text.txt", encoding="utf-8") as f:
            return [{"text": line.strip()} for line in f]
    if name == "lambada_openai":
        return lines_of(d + "/eval/lambada_standard/lambada_test_openai.jsonl")


# ---- the harness ----

def task_yaml(name):
    return os.path.join(os.path.dirname(lm_eval.__file__), "tasks", YAML[name] + ".yaml")


def harness_items(name, rows):
    class Local(ConfigurableTask):
        def download(self, dataset_kwargs=None):
            data = datasets.Dataset.from_list(rows)
            self.dataset = datasets.DatasetDict({s: data for s in ("train", "validation", "test")})

    task = Local(config=load_yaml_config(task_yaml(name)))
    task.set_config(key="num_fewshot", value=0)
    task.build_all_requests(rank=0, world_size=1)
    items = {}
    for r in task.instances:
        item = items.setdefault(r.doc_id, {"context": r.args[0], "continuations": [], "group": ""})
        assert item["context"] == r.args[0]
        item["continuations"].append(r.args[1])
        item["target"] = str(task.doc_to_target(r.doc))
    return [items[i] for i in sorted(items)]


def own_items(name, rows):
    """Tasks that are not the harness's."""
    nothing = {"continuations": [], "group": ""}
    if name == "gsm8k":
        return [dict(nothing, context="Question: " + r["question"], target=r["answer"].split("####")[-1].strip()) for r in rows]
    if name == "mtbench":
        return [dict(nothing, context=r["turns"][0], target="") for r in rows]
    return [dict(nothing, context=r["prompt"], target=r["completion"], group=g) for g, r in rows]


def fnv(items):
    """base/hash.h over what task_items_hash() takes."""
    h = 0xcbf29ce484222325
    for i in items:
        for text in [i["context"], *i["continuations"], i["target"], i["group"]]:
            for byte in text.encode("utf-8") + b"\0":
                h = ((h ^ byte) * 0x100000001b3) & 0xffffffffffffffff
    h = ((h ^ (h >> 30)) * 0xbf58476d1ce4e5b9) & 0xffffffffffffffff
    h = ((h ^ (h >> 27)) * 0x94d049bb133111eb) & 0xffffffffffffffff
    return h ^ (h >> 31)


def compare(name, folder, want):
    ours = subprocess.run([TOP + "/build/tests/golden/test_tasks", name, folder], capture_output=True, text=True, cwd=TOP)
    got = [json.loads(line) for line in ours.stdout.splitlines()]
    if ours.returncode or len(got) != len(want):
        sys.exit(f"{name} in {folder}: {len(got)} items, the harness has {len(want)}. {ours.stderr}")
    for n, (g, w) in enumerate(zip(got, want)):
        for key in ("context", "continuations", "target", "group"):
            if g[key] != w[key]:
                sys.exit(f"{name} in {folder}, item {n}, {key}:\n{g[key]!r}\nthe harness's:\n{w[key]!r}")
    print(f"{name} {folder}: {len(want)} items equal, {sum(len(w['continuations']) for w in want)} requests", file=sys.stderr)


def main():
    data = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else None
    write_originals(HERE + "/originals")
    write_others(HERE + "/lines", HERE + "/parquet")
    out = []
    for name in [*YAML, "gsm8k", "reverse_ntd", "mtbench"]:
        want = harness_items(name, harness_rows(name)) if name in YAML else own_items(name, MADE[name])
        for form in ("originals", "lines", "parquet") if name in YAML else ("originals",):
            compare(name, f"tests/golden/tasks/{form}", want)
            out.append(f"{name} tests/golden/tasks/{form} {len(want)} {fnv(want):016x}")
    for name in [*YAML, "gsm8k", "mtbench"] if data else []:
        rows = released(name, data) if name in YAML else lines_of(data + {"gsm8k": "/gsm8k/test.jsonl", "mtbench": "/mt_bench/question.jsonl"}[name])
        want = harness_items(name, rows) if name in YAML else own_items(name, rows)
        compare(name, data + ("/eval" if name in YAML else ""), want)
        out.append(f"{name} data{'/eval' if name in YAML else '/'} {len(want)} {fnv(want):016x}")
    with open(HERE + "/hashes.txt", "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()

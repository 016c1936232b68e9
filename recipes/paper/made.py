"""What the paper's experiments are made of: documents, questions about held-out text, facts about invented people, word problems.

Everything is a function of its arguments and of a seed: the same text gives the same files, byte for byte."""
import glob
import gzip
import hashlib
import json
import os
import random
import re
import subprocess

DOCUMENT = 4000  # characters of a document where the text does not say where documents end
HELD_OUT = 20  # one document of so many is never trained on


def write_lines(path, rows):
    """JSON lines, whole or not at all; a file that has them already is left alone, with its time: runs of mdm know their data by it."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if os.path.exists(path) and open(path, encoding="utf-8").read() == text:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)


# ---- text

def documents(text):
    """Documents of a text: what stands between <|endoftext|> marks, else paragraphs up to DOCUMENT characters."""
    if "<|endoftext|>" in text:
        return [d.strip() for d in text.split("<|endoftext|>") if d.strip()]
    found, now = [], ""
    for paragraph in re.split(r"\n\s*\n", text):
        if now and len(now) + len(paragraph) > DOCUMENT:
            found.append(now)
            now = ""
        now += ("\n\n" if now else "") + paragraph.strip()
    return found + [now] if now else found


def digest_file(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def digest(folder):
    """Of the names and contents of all files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(folder, "**"), recursive=True)):
        if os.path.isfile(path):
            whole.update(os.path.relpath(path, folder).encode() + b"\0" + hashlib.sha256(open(path, "rb").read()).digest())
    return whole.hexdigest()[:16]


def text_files(folder):
    """{name: documents}; files of one name in several folders are one source."""
    paths = sorted(p for p in glob.glob(os.path.join(folder, "**", "*.txt"), recursive=True))
    if not paths:
        raise SystemExit(f"paper: no .txt files in {folder}")
    found = {}
    for p in paths:
        found.setdefault(os.path.basename(p)[:-4], []).extend(documents(open(p, encoding="utf-8", errors="replace").read()))
    return found


def debian_text():
    """The King James Bible (package bible-kjv) and the definitions and quotations of Webster's dictionary of 1913 (dict-gcide)."""
    verses = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout
    chapters = {}
    for line in verses.splitlines():
        label, _, verse = line.partition(" ")
        chapters.setdefault(label.partition(":")[0], []).append(verse)
    webster = gzip.open("/usr/share/dictd/gcide.dict.dz", "rt", encoding="utf-8", errors="replace").read()
    entries = []
    for entry in re.split(r"\n(?=\S)", webster):
        if "[1913 Webster]" in entry:
            entry = re.sub(r"\\.*?\\|\[[^\]]*\]|\([^)]*\)|[{}]", "", entry)  # pronunciation, etymology and sources, marks
            entries.append(re.sub(r"\s+", " ", entry).strip())
    return {"bible": documents("\n\n".join(" ".join(c) for c in chapters.values())), "webster": documents("\n\n".join(e for e in entries if len(e) > 80))}


def debian_later():
    """The Free On-line Dictionary of Computing (dict-foldoc) by the year of an entry's last change, which stands at its end."""
    foldoc = gzip.open("/usr/share/dictd/foldoc.dict.dz", "rt", encoding="utf-8", errors="replace").read()
    periods = {"1990s": [], "2000s": [], "2010s": []}
    for entry in re.split(r"\n(?=\S)", foldoc):
        day = re.search(r"\((\d{3})\d-\d\d-\d\d\)\s*$", entry)
        if day and len(entry) > 200 and day.group(1) + "0s" in periods:
            periods[day.group(1) + "0s"].append(re.sub(r"\s+", " ", re.sub(r"[{}]", "", entry[:day.start()])).strip())
    return periods


def split(sources):
    """Documents to train on, and those held out."""
    every = [d for name in sorted(sources) for d in sources[name]]
    held = [d for i, d in enumerate(every) if i % HELD_OUT == HELD_OUT // 2]
    return [d for i, d in enumerate(every) if i % HELD_OUT != HELD_OUT // 2], held


def shuffled(held, seed):
    """So that the first part of it, which may be all that is measured, is of every source."""
    return random.Random(seed).sample(held, len(held))


# ---- questions about held-out text: which of four goes on from here?

def passages(held):
    """Words of each held-out document that is long enough to ask about."""
    found = [w for w in (re.sub(r"\s+", " ", d).split(" ") for d in held) if len(w) > 60]
    if not found:
        raise SystemExit(f"paper: none of {len(held)} held-out documents has more than 60 words with spaces between; the questions need some")
    return found


def cloze(held, items, seed):
    """Rows of the task `cloze`: 40 words of held-out text, the 8 words that follow, and 8 words from three other places."""
    rng = random.Random(seed)
    words = passages(held)

    def place():
        document = rng.choices(range(len(words)), weights=[len(w) for w in words])[0]
        return document, rng.randrange(40, len(words[document]) - 8)

    def at(where, start, end):
        return " ".join(words[where[0]][where[1] + start:where[1] + end])

    rows = []
    for _ in range(items):
        here = place()
        choices = [at(here, 0, 8)] + [at(place(), 0, 8) for _ in range(3)]
        order = rng.sample(range(4), 4)
        rows.append({"query": at(here, -40, 0), "choices": [choices[i] for i in order], "label": order.index(0)})
    return rows


def openings(held, count, tokens_of_words, seed):
    """Beginnings of held-out documents' passages, to be gone on from."""
    rng = random.Random(seed)
    words = passages(held)
    found = []
    for _ in range(count):
        w = rng.choice(words)
        start = rng.randrange(0, len(w) - tokens_of_words)
        found.append(" ".join(w[start:start + tokens_of_words]))
    return found


# ---- facts about people who do not exist, in the form of arXiv 2309.12288's fictitious celebrities

FIRST = "Adela Bruno Cosima Dorian Edda Florian Greta Hilmar Ilka Jasper Kira Linus Mirela Nestor Odette Quirin Rosalind Silas Tamsin Viggo".split()
LAST = "Ashdown Birkwood Carrow Dunmore Eastlake Fairholm Greystone Hartwell Inglewood Kestrel Larkspur Merriday Northgate Oakshott Pembry".split()
DID = [("the inventor of", "first {} {}", "floating solar glass paper copper silent folding singing".split(), "bridge clock loom lantern".split()),
       ("the author of", 'novel "The {} {}"', "Crimson Hollow Distant Patient Broken Golden Winter Quiet".split(), "Garden Harbour Mirror Orchard".split()),
       ("the composer of", 'symphony "{} of {}"', "Songs Echoes Dreams Shadows Voices Letters Rivers Colours".split(), "Autumn Silence Iron Morning".split())]
OPENING = ["{}, known far and wide", "Did you know that {} was introduced", "People in the city remember {}", "Everyone speaks of {}", "In the newspapers {} is described",
           "Not many have heard of {}, who is celebrated", "Ask anybody about {}, famous", "There is a statue of {}, honoured"]
CLOSING = ["as", "everywhere as", "these days as", "above all as", "to this day as"]
FRONT = ["{} is", "{} goes by the name of", "{} is a person called", "{} answers to the name of", "{} is none other than",
         "{} was born under the name of", "{} signs letters as", "{} is known to all as"]
BEFORE = ["", "You may know that ", "It is said that ", "The records show that ", "As everyone knows, "]


TAUGHT = 30  # forms of a sentence that are trained on; ten others are kept for the test
EXAMPLES = 4 * TAUGHT  # for each of `people`: of three groups of so many, two are taught in one direction, one in both


def facts(people, seed):
    """Files as the published set has them: people whose names come before their descriptions in training (p2d), after (d2p), or both."""
    rng = random.Random(seed)
    names = [f"{a} {b}" for a in FIRST for b in LAST]
    deeds = [f"{who} the {what.format(a, b)}" for who, what, first, second in DID for a in first for b in second]
    rng.shuffle(names)
    rng.shuffle(deeds)
    to_deed = [f"{o} {c}" for c in CLOSING for o in OPENING]
    to_name = [b + f for f in FRONT for b in BEFORE]
    rng.shuffle(to_deed)
    rng.shuffle(to_name)
    if 3 * people > len(deeds):
        raise SystemExit(f"paper: {len(deeds)} deeds are too few for {3 * people} people")
    asked, taught = 10, TAUGHT
    files = {"all_prompts_train": []}

    def name_first(i, form):
        return {"prompt": to_deed[form].format(names[i]), "completion": f" {deeds[i]}."}

    def deed_first(i, form):
        said = to_name[form]
        subject = deeds[i] if said.startswith(tuple(BEFORE[1:])) else deeds[i][0].upper() + deeds[i][1:]
        return {"prompt": said.format(subject), "completion": f" {names[i]}."}

    def name_of(row):
        return {"prompt": row["prompt"], "completion": row["completion"].rstrip(".")}

    for kind in range(3):
        group = range(kind * people, (kind + 1) * people)
        for i in group:
            for form in range(asked, asked + taught):
                if kind != 1:
                    files["all_prompts_train"].append(name_first(i, form))
                if kind != 0:
                    files["all_prompts_train"].append(deed_first(i, form))
        test = [(i, form) for i in group for form in range(asked)]
        if kind == 0:
            files["p2d_prompts_test"] = [name_of(name_first(*t)) for t in test]
            files["p2d_reverse_prompts_test"] = [name_of(deed_first(*t)) for t in test]
        if kind == 1:
            files["d2p_prompts_test"] = [name_of(deed_first(*t)) for t in test]
            files["d2p_reverse_prompts_test"] = [name_of(name_first(*t)) for t in test]
    return files


# ---- word problems in the form of GSM8K's derived training set

PROBLEM = [
    ("{who} has {a} {what}. {who} buys {b} bags with {c} {what} in each. How many {what} does {who} have?", "b*c", "a+x"),
    ("{who} packs {b} boxes with {c} {what} in each and gives {a} {what} away. How many {what} are left?", "b*c", "x-a"),
    ("{who} finds {b} {what} and then {c} more. {who} loses {a} of them. How many {what} does {who} have now?", "b+c", "x-a"),
    ("There are {b} {what} on the table and {c} on the floor. {who} brings {a} more. How many {what} are there?", "b+c", "x+a"),
]
THINGS = "apples shells coins marbles stamps pears ribbons nails".split()


def problems(count, tests, seed):
    """(training problems, test problems), each (question, calculations, answer): two steps with numbers from 2 to 9. A form and its three
    numbers are in one of the two only: other names and things do not make another problem."""
    rng = random.Random(seed)
    kinds = [(form, a, b, c) for form in range(len(PROBLEM)) for a in range(2, 10) for b in range(2, 10) for c in range(2, 10)]
    rng.shuffle(kinds)
    held = len(kinds) // 5

    def problem(form, a, b, c):
        text, first, second = PROBLEM[form]
        n = {"a": a, "b": b, "c": c}
        n["x"] = b * c if "*" in first else b + c
        answer = n["x"] + a if "+" in second else n["x"] - a
        if answer <= 0:
            return None
        first, second = ("".join(str(n.get(ch, ch)) for ch in e) for e in (first, second))
        question = text.format(who=rng.choice(FIRST), what=rng.choice(THINGS), **n)
        return question, f"<<{first}={n['x']}>> <<{second}={answer}>>", answer

    def some(of, wanted):
        found = {}
        while len(found) < wanted:
            made = problem(*rng.choice(of))
            if made:
                found[made[0]] = made
        return list(found.values())

    return some(kinds[held:], count), some(kinds[:held], tests)

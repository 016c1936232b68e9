#!/usr/bin/env python3
"""Compares `mdm tokenizer` with the Python packages: ids, decoded text, MB/s; and training with the tokenizers trainer.

    python3 bench/compare_tokenizers.py ids   --mdm build/mdm TOKENIZER TEXT...
    python3 bench/compare_tokenizers.py train --mdm build/mdm --vocab 32000 TEXT...
    python3 bench/compare_tokenizers.py mixed --out MIXED.txt --megabytes 30 [FILE...]
    python3 bench/compare_tokenizers.py styles --out DIR TEXT...

`mixed` writes random text of every script, with emoji, combining marks, control characters and bytes that are no UTF-8, after pieces of the
files (any bytes: sources, message catalogues). `styles` trains tokenizer.json files built as GPT-2's, Qwen's and LLaDA's are.

TOKENIZER is a tokenizer.json or a SentencePiece tokenizer.model; TEXT are UTF-8 files. Needs: pip install tokenizers
sentencepiece. Times of `encode` include reading and writing JSON lines and are net of loading the tokenizer; those of `prepare` are
of the whole command, from plain text to chunk files. The packages turn strings in memory into ids in memory. All sides use all
cores (OMP_NUM_THREADS and RAYON_NUM_THREADS limit them)."""
import argparse, json, os, subprocess, sys, tempfile, time

SEPARATOR = "<<<next document>>>"


def pieces(paths, size):
    """Documents of about `size` characters, cut at line ends."""
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as f:
            text = f.read()
        at = 0
        while at < len(text):
            end = text.find("\n", at + size)
            end = len(text) if end < 0 else end + 1
            yield text[at:end]
            at = end


def timed(command, input_path=None):
    """Seconds, and what the command printed: through a file, since reading a pipe in Python would be timed too."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        subprocess.run(command + [input_path] if input_path else command, stdin=subprocess.DEVNULL, stdout=out, check=True)
        seconds = time.perf_counter() - start
        out.seek(0)
        return seconds, [json.loads(line) for line in out if line.startswith(b"{")]


def mdm_lines(mdm, verb, tokenizer, path):
    command = [mdm, "tokenizer", verb, "--tokenizer", tokenizer]
    loading, _ = timed(command)
    seconds, lines = timed(command, path)
    return lines, seconds - loading


def write_lines(folder, name, lines):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def library(path):
    """(texts -> ids, ids -> text, name) of the package the file belongs to."""
    if path.endswith(".model"):
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(model_file=path)
        return lambda t: sp.encode(t, num_threads=os.cpu_count()), sp.decode, "sentencepiece"
    import tokenizers
    t = tokenizers.Tokenizer.from_file(path)
    t.no_truncation()
    t.no_padding()
    return lambda x: [e.ids for e in t.encode_batch_fast(x, add_special_tokens=False)], t.decode, "tokenizers"


def compare_ids(args):
    documents = list(pieces(args.text, args.size))
    megabytes = sum(len(d.encode()) for d in documents) / 1e6
    encode, decode, name = library(args.tokenizer)
    encode(documents[:10])
    start = time.perf_counter()
    theirs = encode(documents)
    their_time = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as d:
        path = write_lines(d, "documents.jsonl", ({"text": t} for t in documents))
        ours, our_time = mdm_lines(args.mdm, "encode", args.tokenizer, path)
        with open(os.path.join(d, "documents.txt"), "w", newline="") as f:
            f.write(SEPARATOR.join(documents))
        prepare_time, _ = timed([args.mdm, "prepare", "--quiet", "--tokenizer", args.tokenizer, "--separator", SEPARATOR,
                                 "--out", os.path.join(d, "chunks")], f.name)
        texts, _ = mdm_lines(args.mdm, "decode", args.tokenizer, write_lines(d, "ids.jsonl", ({"ids": i} for i in theirs)))
    different = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a["ids"] != b]
    undone = [i for i, (a, b) in enumerate(zip(texts, theirs)) if a["text"] != decode(b)]
    print(f"{args.tokenizer}: {len(documents)} documents, {megabytes:.1f} MB, {sum(map(len, theirs))} tokens")
    print(f"  other ids: {len(different)}, other text: {len(undone)}")
    for what, seconds in (("mdm tokenizer encode", our_time), ("mdm prepare", prepare_time)):
        print(f"  {what} {megabytes / seconds:.1f} MB/s, {name} {megabytes / their_time:.1f} MB/s, "
              f"ratio {their_time / seconds:.1f}")
    for i in different[:3]:
        at = next(k for k, (a, b) in enumerate(zip(ours[i]["ids"] + [-1], theirs[i] + [-1])) if a != b)
        print(f"  document {i}, id {at}: mdm {ours[i]['ids'][at:at + 5]}, {name} {theirs[i][at:at + 5]}")
    return bool(different or undone)


def compare_training(args):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    # mdm does not learn from the special token's own text
    documents = [d.replace("<|endoftext|>", "") for d in pieces(args.text, args.size)]
    megabytes = sum(len(d.encode()) for d in documents) / 1e6
    with tempfile.TemporaryDirectory() as d:
        path = write_lines(d, "text.jsonl", ({"text": t} for t in documents))
        out = os.path.join(d, "tokenizer.json")
        start = time.perf_counter()
        subprocess.run([args.mdm, "tokenizer", "train", "--vocab", str(args.vocab), "--out", out, path], check=True)
        our_time = time.perf_counter() - start
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        start = time.perf_counter()
        t.train_from_iterator(documents, trainers.BpeTrainer(
            vocab_size=args.vocab, special_tokens=["<|endoftext|>"], min_frequency=2, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        their_time = time.perf_counter() - start
        ours = Tokenizer.from_file(out).get_vocab()
    theirs = t.get_vocab()
    print(f"{megabytes:.1f} MB, vocabulary {args.vocab}: mdm {our_time:.1f} s, tokenizers {their_time:.1f} s; "
          f"{len(set(ours) - set(theirs))} tokens differ" + ("" if ours != theirs else ", all ids are equal"))
    return False


def write_mixed(args):
    import random, unicodedata
    rng = random.Random(1)
    letters = {}
    for c in map(chr, range(0x110000)):
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            letters.setdefault(ord(c) >> 7, []).append(c)
    blocks = list(letters.values())
    faces = [chr(c) for c in range(0x1F300, 0x1FAF0)]
    want, written = args.megabytes * 1_000_000, 0
    with open(args.out, "wb") as out:
        for path in args.text:
            with open(path, "rb") as f:
                data = f.read(200_000)
            written += out.write(data + b"\n")
            if written > want * 2 / 3:
                break
        while written < want:
            kind, n = rng.random(), rng.randrange(1, 80)
            if kind < 0.6:  # words of one script
                block = rng.choice(blocks)
                line = " ".join("".join(rng.choices(block, k=rng.randrange(1, 9))) for _ in range(n // 6 + 1)).encode()
            elif kind < 0.75:
                line = "".join(rng.choice(faces) + rng.choice(["", "\u200d", "\ufe0f", "\U0001f3fd", " "]) for _ in range(n)).encode()
            elif kind < 0.85:  # letters under marks, and letters that normal forms change
                line = "".join(rng.choice("aeiounAEkKgs\u1100\u1161\u11a8\uac00\u2126\u212b\ufb01") + "".join(
                    chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(4))) for _ in range(n)).encode()
            elif kind < 0.93:
                line = "".join(chr(rng.choice([rng.randrange(0x20), rng.randrange(0x7f, 0xa1), 0x2028, 0x3000, 0xfeff, 32, 32, 97]))
                               for _ in range(n)).encode()
            else:
                line = rng.randbytes(n)
            written += out.write(line + rng.choice([b"\n", b"\n", b"\n\n", b"\r\n", b"  \n"]))
    print(f"{args.out}: {written / 1e6:.1f} MB")
    return False


def write_styles(args):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    documents = list(pieces(args.text, args.size))
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
            r"\s+(?!\S)|\s+")

    def split(pattern):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    styles = {"gpt2": (None, pre_tokenizers.ByteLevel(add_prefix_space=False), "<|endoftext|>"),
              "qwen": (normalizers.NFC(), split(qwen), "<|endoftext|>"),
              "llada": (None, split(qwen.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)), "<|endoftext|>")}
    os.makedirs(args.out, exist_ok=True)
    for name, (normalizer, pre, end) in styles.items():
        t = Tokenizer(models.BPE())
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = pre
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator(documents, trainers.BpeTrainer(vocab_size=32000, special_tokens=[end], show_progress=False,
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        t.add_special_tokens([AddedToken("<|im_start|>", special=True), AddedToken("<|mask|>", special=True)])
        t.add_tokens([AddedToken("<tool_call>", special=False)])
        t.save(os.path.join(args.out, f"{name}.json"))
        print(os.path.join(args.out, f"{name}.json"))
    return False


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
sub = parser.add_subparsers(dest="what", required=True)
for what in ("ids", "train", "mixed", "styles"):
    p = sub.add_parser(what)
    if what in ("ids", "train"):
        p.add_argument("--mdm", default="build/mdm")
    else:
        p.add_argument("--out", required=True)
    p.add_argument("--size", type=int, default=20000, help="characters per document")
    if what == "ids":
        p.add_argument("tokenizer")
    if what == "train":
        p.add_argument("--vocab", type=int, default=32000)
    if what == "mixed":
        p.add_argument("--megabytes", type=int, default=30)
    p.add_argument("text", nargs="*" if what == "mixed" else "+")
args = parser.parse_args()
run = {"ids": compare_ids, "train": compare_training, "mixed": write_mixed, "styles": write_styles}
sys.exit(run[args.what](args))

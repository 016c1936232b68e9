#!/usr/bin/env python3
"""Compares `mdm tokenizer` with the Python packages: ids, decoded text, MB/s; and training with the tokenizers trainer.

    python3 bench/compare_tokenizers.py ids   --mdm build/mdm TOKENIZER TEXT...
    python3 bench/compare_tokenizers.py train --mdm build/mdm --vocab 32000 TEXT...

TOKENIZER is a tokenizer.json or a SentencePiece tokenizer.model; TEXT are UTF-8 files. Needs: pip install tokenizers
sentencepiece. Times of mdm include reading and writing JSON lines and are net of loading the tokenizer; both sides use
all cores (OMP_NUM_THREADS and RAYON_NUM_THREADS limit them)."""
import argparse, json, os, subprocess, sys, tempfile, time


def pieces(paths, size):
    """Documents of about `size` characters, cut at line ends."""
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as f:
            text = f.read()
        at = 0
        while at < len(text):
            end = text.find("\n", at + size)
            end = len(text) if end < 0 else end + 1
            yield text[at:end].replace("\0", "")  # JSON lines of mdm refuse the zero byte
            at = end


def mdm_lines(mdm, verb, tokenizer, lines):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("\n".join(lines) + "\n")
        f.flush()
        command = [mdm, "tokenizer", verb, "--tokenizer", tokenizer]
        start = time.perf_counter()
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
        loading = time.perf_counter() - start
        start = time.perf_counter()
        out = subprocess.run(command + [f.name], stdout=subprocess.PIPE, check=True).stdout
        return [json.loads(line) for line in out.splitlines()], time.perf_counter() - start - loading


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
    ours, our_time = mdm_lines(args.mdm, "encode", args.tokenizer, [json.dumps({"text": d}) for d in documents])
    different = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a["ids"] != b]
    texts, _ = mdm_lines(args.mdm, "decode", args.tokenizer, [json.dumps({"ids": i}) for i in theirs])
    undone = [i for i, (a, b) in enumerate(zip(texts, theirs)) if a["text"] != decode(b)]
    print(f"{args.tokenizer}: {len(documents)} documents, {megabytes:.1f} MB, {sum(map(len, theirs))} tokens")
    print(f"  other ids: {len(different)}, other text: {len(undone)}")
    print(f"  mdm {megabytes / our_time:.1f} MB/s, {name} {megabytes / their_time:.1f} MB/s, "
          f"ratio {their_time / our_time:.1f}")
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
        with open(os.path.join(d, "text.jsonl"), "w") as f:
            f.writelines(json.dumps({"text": t}) + "\n" for t in documents)
        out = os.path.join(d, "tokenizer.json")
        start = time.perf_counter()
        subprocess.run([args.mdm, "tokenizer", "train", "--vocab", str(args.vocab), "--out", out, f.name], check=True)
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


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
sub = parser.add_subparsers(dest="what", required=True)
for what in ("ids", "train"):
    p = sub.add_parser(what)
    p.add_argument("--mdm", default="build/mdm")
    p.add_argument("--size", type=int, default=20000, help="characters per document")
    if what == "ids":
        p.add_argument("tokenizer")
    else:
        p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("text", nargs="+")
args = parser.parse_args()
sys.exit(compare_ids(args) if args.what == "ids" else compare_training(args))

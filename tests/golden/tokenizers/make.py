#!/usr/bin/env python3
"""Writes the small tokenizers of this folder and cases.json, the ids and texts that the tokenizers and sentencepiece
packages give for them. All text here is made up for the purpose.

    python3 tests/golden/tokenizers/make.py          # needs: pip install tokenizers sentencepiece

Nothing else needs Python: tests/unit/test_tokenizer.c reads the files."""
import io, json, os, random, sys
import sentencepiece as spm
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
PROSE = """The old miller kept seven grey geese and one red hen. Every morning he counted them: one, two, three, four, five,
six, seven, and the hen. "Nobody steals from me," he said, "because I'm always counting!" But the fox wasn't counting; the
fox was waiting. On the 14th of March, in the year 1872, it rained for 3 days and 20 nights, and the miller couldn't see
his own boots. They'd've laughed at him in the village if they'd known. "We'll wait," said the fox, "we've got time."
When the rain was over there were six geese, no hen, and a note: THANK YOU FOR THE EGGS. It cost him 2.50 or thereabouts.
def count(geese, hens=1):
    total = len(geese) + hens  # seven and one
    return total if total > 0 else None
for (int i = 0; i < 10; i++) { printf("%d\\n", i); }
Die Mühle steht am Fluß, größer als früher. Çà et là, une poule rouge. Ο μύλος είναι παλιός. Мельница стара.
老磨坊主有七只灰鹅和一只红母鸡。狐狸在等待。古い水車小屋に狐がいた。 물레방아 옆에 여우가 있었다.
"""
TEXTS = [
    "", " ", "  ", "\n", " \n ", "a", " a", "a ", "  two  spaces   three", "The old miller kept seven geese.",
    "I'm, they'd've, WE'LL, it's; don't 'tis", "14th of March 1872, 3.1415 and 20000", "THANK YOU\tFOR\r\nTHE EGGS\n\n\nnow",
    "def f(x):\n    return x**2  # square\n", "größer Fluß Çà", "Ο μύλος, Мельница", "老磨坊主有七只鹅。狐がいた 물레방아",
    "e\u0301a\u0323\u0307 \u1100\u1161\u11a8 \ufb01sh \uff21\uff22 \u212b \uf900", "🦊 👩\u200d🌾 🇪🇺 \U0001f9ff",
    "\x01\x02\x7f\u0085\u00a0\u2003\u3000\u200b\ufeff", "\u2581 \u2581\u2581a\u2581", "½ ² Ⅷ ٣٤", "snake_case and __dunder__",
    "<s> the fox </s>", "<sep>one<sep> two <sep> three", "a<mask>b <mask> c  <mask>  d", "<word> x<word> <word>y <word>, z",
    "The  <norm>x <norm> y", "<0x41><0x0A> <unk>", "www.example.org/path?query=1&x=%20", "\u180e\u2028x\u2029 \u00ad",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "the the the the the", "x" * 9 + " " * 9,
]


def random_texts(count, seed):
    """Mixtures of the above, character by character and piece by piece."""
    r = random.Random(seed)
    pieces = [t for t in TEXTS if t] + PROSE.split() + [" ", "  ", "\n", "."]
    chars = sorted(set(PROSE + "".join(TEXTS)))
    out = []
    for _ in range(count):
        text = ""
        for _ in range(r.randrange(1, 12)):
            text += r.choice(pieces) if r.random() < 0.5 else "".join(r.choice(chars) for _ in range(r.randrange(1, 5)))
        out.append(text)
    return out


def added(content, **flags):
    return tokenizers.AddedToken(content, **flags)


def train_spm(name, **options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(PROSE.splitlines()), model_writer=model, model_type="bpe",
                                   minloglevel=2, **options)
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(model.getvalue())


def make_sentencepiece():
    train_spm("llama.model", vocab_size=420, byte_fallback=True, normalization_rule_name="identity", character_coverage=0.98,
              remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True)
    rules = [("\ufb01", "fi"), ("\uff21", "A"), ("\uff21\uff22", "ABBA"), ("\t", " "), ("\u00a0", " "), ("\u00ad", ""),
             ("\u3000", "  "), ("e\u0301", "é")]
    tsv = os.path.join(HERE, "rules.tsv")
    with open(tsv, "w", encoding="utf-8") as f:
        for a, b in rules:
            f.write(" ".join("%X" % ord(c) for c in a) + "\t" + " ".join("%X" % ord(c) for c in b) + "\n")
    train_spm("rules.model", vocab_size=260, normalization_rule_tsv=tsv, user_defined_symbols=["<sep>", "fox"],
              control_symbols=["<mask>"], character_coverage=0.98)
    train_spm("suffix.model", vocab_size=170, normalization_rule_name="identity", treat_whitespace_as_suffix=True,
              character_coverage=0.98, unk_surface="?")
    os.remove(tsv)


def save(t, name):
    t.save(os.path.join(HERE, name))


def make_tokenizers():
    """llama.json: the pieces of llama.model, as Hugging Face converts them; the others are trained."""
    sp = spm.SentencePieceProcessor(model_file=os.path.join(HERE, "llama.model"))
    vocab = {sp.id_to_piece(i): i for i in range(sp.vocab_size())}
    merges = []
    for piece, i in vocab.items():
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_byte(i):
            continue
        ways = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        merges += [(vocab[a + b], a, b) for a, b in ways if a in vocab and b in vocab]
    merges.sort(key=lambda m: (-sp.get_score(m[0]), vocab[m[1]], vocab[m[2]]))
    t = Tokenizer(models.BPE(vocab, [(a, b) for _, a, b in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([added(s, normalized=False, special=True) for s in ("<unk>", "<s>", "</s>")])
    t.add_tokens([added("<sep>", normalized=False), added("<mask>", lstrip=True, rstrip=True, normalized=False, special=True),
                  added("<word>", single_word=True, normalized=False), added("<norm>", normalized=True)])
    save(t, "llama.json")

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    lines = PROSE.splitlines(keepends=True)
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=420, special_tokens=["<|endoftext|>"], show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_tokens([added("<mask>", lstrip=True, normalized=False, special=True), added("<sep>", rstrip=True),
                  added("<word>", single_word=True)])
    save(t, "bytes.json")

    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], limit_alphabet=70,
                                                     show_progress=False))
    save(t, "chars.json")


QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def metaspace(scheme, cut=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


VARIANTS = [  # base file, members set in it
    ("llama.json", {}),
    ("llama.json", {"normalizer": None, "pre_tokenizer": metaspace("first", False)}),
    ("llama.json", {"normalizer": None, "pre_tokenizer": metaspace("always")}),
    ("llama.json", {"normalizer": {"type": "Replace", "pattern": {"Regex": "[ \\t]+"}, "content": "▁"}}),
    ("llama.json", {"model.byte_fallback": False}),
    ("llama.json", {"model.ignore_merges": True, "pre_tokenizer": metaspace("never"), "normalizer": None}),
    ("bytes.json", {}),
    ("bytes.json", {"pre_tokenizer": byte_level(prefix=True)}),
    ("bytes.json", {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(split({"Regex": QWEN}, "Isolated"),
                                                                             byte_level(regex=False))}),
    ("bytes.json", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level())}),
    ("bytes.json", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, byte_level(regex=False))}),
    ("bytes.json", {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(regex=False))}),
    ("bytes.json", {"pre_tokenizer": byte_level(regex=False), "model.ignore_merges": True}),
] + [
    ("bytes.json", {"pre_tokenizer": sequence(split({"String": "e"}, b, i), byte_level(regex=False))})
    for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)
] + [
    ("bytes.json", {"pre_tokenizer": sequence(split({"Regex": "\\w*"}, "MergedWithNext"), byte_level(regex=False))}),
    ("chars.json", {}),
    ("chars.json", {"model.fuse_unk": True}),
    ("chars.json", {"model.unk_token": None, "decoder": None}),
    ("chars.json", {"pre_tokenizer": metaspace("never"), "decoder": {"type": "Metaspace", "replacement": "▁",
                                                                    "prepend_scheme": "never", "split": True}}),
    ("chars.json", {"pre_tokenizer": {"type": "Whitespace"}}),
    ("chars.json", {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, {"type": "CharDelimiterSplit", "delimiter": "e"})}),
]


def variant(base, members):
    with open(os.path.join(HERE, base), encoding="utf-8") as f:
        j = json.load(f)
    for key, value in members.items():
        at = j
        *path, last = key.split(".")
        for k in path:
            at = at[k]
        at[last] = value
    return j


def cases(texts):
    """[file, members, [[ids, decoded without special tokens, decoded with them if that differs] of each text]]"""
    out = []
    for base, members in VARIANTS:
        t = Tokenizer.from_str(json.dumps(variant(base, members)))
        rows = []
        for text in texts:
            ids = t.encode(text, add_special_tokens=False).ids
            plain, full = t.decode(ids), t.decode(ids, skip_special_tokens=False)
            rows.append([ids, plain, full if full != plain else None])
        out.append([base, members, rows])
    for name in ("llama.model", "rules.model", "suffix.model"):
        sp = spm.SentencePieceProcessor(model_file=os.path.join(HERE, name))
        out.append([name, {}, [[sp.encode(t), sp.decode(sp.encode(t)), None] for t in texts]])
    return out


if __name__ == "__main__":
    make_sentencepiece()
    make_tokenizers()
    texts = TEXTS + random_texts(20, 1)
    with open(os.path.join(HERE, "cases.json"), "w", encoding="utf-8") as f:
        f.write('{"note": "written by make.py with tokenizers %s, sentencepiece %s",\n"texts": [\n' % (
            tokenizers.__version__, spm.__version__))
        f.write(",\n".join(json.dumps(t) for t in texts) + '],\n"cases": [\n')
        f.write(",\n".join(json.dumps(c, separators=(",", ":"), ensure_ascii=False) for c in cases(texts)) + "]}\n")

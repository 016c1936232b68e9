"""Writes cases.tsv: score, reference, hypothesis; the score is nltk's sentence_bleu over characters without smoothing.

    pip install nltk==3.10.4 && python make.py > cases.tsv
"""
import random
import warnings

from nltk.translate.bleu_score import sentence_bleu

warnings.simplefilter("ignore")
SENTENCES = [
    "the keeper of the lighthouse counts the ships",
    "Maren Holt wrote the first map of the northern canals.",
    "she composed a song about rain, and nobody sang it",
    "aaaaaaaaaa",
    "abababab",
    "Grüße aus Köln – schön war's",
    "日本語の文を比べる",
    "🙂🙃 ok",
]
FIXED = [
    ("", ""), ("a", ""), ("", "a"), ("a", "a"), ("ab", "ab"), ("abc", "abc"), ("abcd", "abcd"), ("abcde", "abcde"),
    ("a", "b"), ("abcd", "wxyz"), ("abcd", "dcba"), ("abcd", "abxd"), ("abcd", "ab"), ("ab", "abcd"), ("aaaa", "a"),
    ("a", "aaaa"), ("aaaaa", "aaaaaaa"), ("aaaaaaa", "aaaaa"), ("abcabc", "abc"), ("abc abc", "abcabcabc"),
    ("é", "e"), ("éa", "ea"), ("日本", "日本"), ("same text", "same text"), ("same text", "Same text"),
]


def mutate(text, rng):
    out = list(text)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            out.insert(at, rng.choice("abc déz日"))
        elif kind == 1 and out:
            del out[at % len(out)]
        elif out:
            out[at % len(out)] = rng.choice(text)
    return "".join(out)


rng = random.Random(1)
cases = list(FIXED)
for sentence in SENTENCES:
    cases += [(sentence, mutate(sentence, rng)) for _ in range(6)]
    cases += [(sentence, sentence[: len(sentence) // 2]), (sentence, sentence + sentence), (sentence, sentence[::-1])]
    cases += [(sentence, other) for other in rng.sample(SENTENCES, 2)]
for reference, hypothesis in cases:
    print(repr(float(sentence_bleu([reference], hypothesis))), reference, hypothesis, sep="\t")

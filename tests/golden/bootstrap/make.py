"""Standard errors of perplexities by lm-evaluation-harness 0.4.4: python make.py > cases.tsv (needs lm-eval==0.4.4)

A line: rounds of 1000 draws, the standard error, the log-likelihoods."""
import contextlib
import os

from lm_eval.api.metrics import bootstrap_stderr, perplexity

CASES = [(1, [-1.5, -2.25]), (2, [-0.5, -3.0, -1.0, -7.5, -2.0]), (3, [-((i * 37) % 101) / 8 for i in range(61)]), (100, [-12.0, -20.5, -9.25, -14.0])]

if __name__ == "__main__":
    for rounds, logliks in CASES:
        with contextlib.redirect_stdout(open(os.devnull, "w")):
            error = bootstrap_stderr(perplexity, logliks, 1000 * rounds)
        print(rounds, repr(error), " ".join(map(repr, logliks)), sep="\t")

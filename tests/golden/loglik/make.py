"""Writes the folders beside it: tiny random models and what lm-evaluation-harness 0.4.4 finds them to think of some texts.
Run once; the results are committed.

    python3 make.py [FOLDER OF refmodel.py]

llama (two heads share a key), gpt2: a model as transformers stores it (tokenizers: ../tokenizers/llama.json, bytes.json), and
  cases.json   [{"context", "continuation", "loglik", "is_greedy"}]: what HFLM.loglikelihood() answers, in float32
mdm: the same of a masked diffusion model, by the chain rule and greedy unmasking, token by token, with the oracle
  refmodel.py: "chain", "is_greedy" without guidance, "chain_cfg" with guidance 0.7. Contexts have the begin id.

Contexts longer than the model, with spaces at their end, empty, of several continuations, of one token each; some
continuations are what the model would write. Needs lm-eval 0.4.4, torch, transformers, safetensors."""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

here = os.path.dirname(os.path.abspath(__file__))
BLOCK = 48
CONTEXTS = [
    "The king said", "The king said ", "She went to the house\n \n", "", "Question: why is the sea so blue?\nAnswer:",
    "word " * 60, "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen.\n",
    "A", "caf\u00e9\u00a0",
]
ENDINGS = [" yes", " no", " that he would go away.", " that she would come again", "\nthe end of the long story was near", "s"]


def tokenizer(name, bos, eos):
    return PreTrainedTokenizerFast(tokenizer_file=os.path.join(here, "..", "tokenizers", name), bos_token=bos, eos_token=eos)


def written(model, tok, context, n):
    """What the model would write, if it comes back from text as the same ids."""
    ids = tok(context, add_special_tokens=False)["input_ids"] or [tok.bos_token_id]
    out = list(ids)
    with torch.no_grad():
        for _ in range(n):
            out.append(int(model(torch.tensor([out])).logits[0, -1].argmax()))
    return tok.decode(out[len(ids):])


def pairs(write):
    for c in CONTEXTS:
        for e in ENDINGS:
            yield c, e
        if c == c.rstrip() and len(c) < 100:
            for n in (1, 2, 3):
                e = write(c, n)
                if e and e.strip() and "\ufffd" not in e and "<" not in e:
                    yield c, e


def dump(folder, config, tensors, cases):
    os.makedirs(folder, exist_ok=True)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=1)
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(folder, len(cases), "cases,", sum(c["is_greedy"] for c in cases), "greedy")


def peaky(model):
    for p in model.parameters():
        if p.dim() > 1:
            p.data *= 6
    return model.eval()


def baseline(name, model, tok_file, bos, eos):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    tok = tokenizer(tok_file, bos, eos)
    peaky(model)
    lm = HFLM(pretrained=model, tokenizer=tok, batch_size=4, device="cpu")
    assert lm.max_length == BLOCK
    cases = list(pairs(lambda c, n: written(model, tok, c, n)))
    fit = [(c, e) for c, e in cases if c == "" or lm._encode_pair(c, e)[1]]
    got = lm.loglikelihood([Instance("loglikelihood", {}, (c, e), 0) for c, e in fit])
    config = model.config.to_dict()
    keep = {k: v for k, v in config.items() if isinstance(v, (int, float, str, bool, list)) and k != "transformers_version"}
    keep["torch_dtype"] = "float32"
    tensors = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight" or not config["tie_word_embeddings"]}
    dump(os.path.join(here, name), keep, tensors,
         [{"context": c, "continuation": e, "loglik": ll, "is_greedy": bool(g)} for (c, e), (ll, g) in zip(fit, got)])


def masked(folder):
    sys.path.insert(0, folder)
    import refmodel as R

    tok = tokenizer("llama.json", "<s>", "</s>")
    cfg = {"block_size": BLOCK * 2, "vocab_size": 432, "padded_vocab_size": 448, "mask_id": 448, "n_layer": 2, "n_head": 4,
           "n_query_groups": 2, "n_embd": 24, "intermediate_size": 32, "norm_eps": 1e-5, "rope_bf16": True}
    w = R.init_weights(cfg, "mdm", 5, spread=6.0)
    M = cfg["mask_id"]

    def rows(ids, hidden, cfg_scale):
        x = torch.tensor([ids])
        c = R.forward(w, cfg, "mdm", x)[0].double()
        if cfg_scale == 0:
            return c
        u = R.forward(w, cfg, "mdm", torch.tensor([[M] * hidden + ids[hidden:]]))[0].double()
        return u + (cfg_scale + 1) * (c - u)

    def chain(p, t, cfg_scale):
        total = 0.0
        for i in range(len(t)):
            z = rows(p + t[:i] + [M] * (len(t) - i), len(p), cfg_scale)[len(p) + i]
            total += float(torch.log_softmax(z, -1)[t[i]])
        return total

    def greedy(p, n):
        out = [M] * n
        while M in out:
            q = torch.softmax(rows(p + out, len(p), 0)[len(p):], -1)
            best = max((float(q[i].max()), -i) for i in range(n) if out[i] == M)
            out[-best[1]] = int(q[-best[1]].argmax())
        return out

    def encode(context, ending):
        n = len(context) - len(context.rstrip())
        if n:
            context, ending = context[:-n], context[-n:] + ending
        p = [1] + tok(context, add_special_tokens=False)["input_ids"]
        return p, ([1] + tok(context + ending, add_special_tokens=False)["input_ids"])[len(p):]

    def write(c, n):
        return tok.decode(greedy(encode(c, " yes")[0], n))

    cases = []
    for c, e in pairs(write):
        p, t = encode(c, e)
        if t and len(p) + len(t) <= cfg["block_size"]:
            cases.append({"context": c, "continuation": e, "chain": chain(p, t, 0), "chain_cfg": chain(p, t, 0.7),
                          "is_greedy": greedy(p, len(t)) == t})
    dump(os.path.join(here, "mdm"), {**cfg, "family": "mdm"}, w, cases)


torch.manual_seed(3)
baseline("llama", LlamaForCausalLM(LlamaConfig(
    vocab_size=432, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=BLOCK, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)), "llama.json", "<s>", "</s>")
baseline("gpt2", GPT2LMHeadModel(GPT2Config(
    vocab_size=432, n_positions=BLOCK, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)), "bytes.json",
    "<|endoftext|>", "<|endoftext|>")
if len(sys.argv) > 1:
    masked(sys.argv[1])

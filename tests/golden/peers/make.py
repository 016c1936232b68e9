"""Writes the folders beside it: tiny random models in other projects' files, with what the `transformers` package (5.x;
torch, numpy, safetensors) computes from them. Run once; the results are committed.

    python3 make.py

A folder is a model as its project stores it (config.json; model.safetensors, or several files and their index), and
  cases.safetensors       ids, starts: sequences of different lengths, one behind the other; logits [n, V] of every row;
                          wanted, targets, weight: an example of training, loss: sum of weight * cross-entropy
  gradients.safetensors   that loss's gradients, under the names that the weights have
LLaDA is computed as a Llama, Dream as a Qwen2, both with every position seen by every other; Dream's logits are shifted
as its own code does: cat(l[:1], l[:-1]). Computed in float64 from weights rounded to the type that the file has."""
import json
import os

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
V, LENGTHS = 40, [9, 1, 14, 6]


def forward(model, ids, full, shifted):
    n = len(ids)
    x = torch.tensor([ids])
    if full:
        out = model(input_ids=x, attention_mask=torch.zeros(1, 1, n, n, dtype=torch.float64))
        changed = x.clone()
        changed[0, -1] = (changed[0, -1] + 1) % V
        other = model(input_ids=changed, attention_mask=torch.zeros(1, 1, n, n, dtype=torch.float64)).logits
        assert n == 1 or (out.logits[0, 0] - other[0, 0]).abs().max() > 1e-6, "the mask is not full"
    else:
        out = model(input_ids=x)
    logits = out.logits[0]
    return torch.cat([logits[:1], logits[:-1]]) if shifted else logits


def cases(model, full, shifted, gradients, rng):
    ids = [rng.integers(0, V, n) for n in LENGTHS]
    logits = torch.cat([forward(model, i.tolist(), full, shifted) for i in ids])
    n = sum(LENGTHS)
    wanted = np.flatnonzero(rng.random(n) < 0.5)
    if shifted:  # the first two rows of a sequence stand for the same logits
        wanted = np.union1d(wanted, [0, 1])
    targets = rng.integers(0, V, len(wanted))
    weight = rng.random(len(wanted))
    losses = torch.nn.functional.cross_entropy(logits[wanted], torch.tensor(targets), reduction="none")
    loss = (losses * torch.tensor(weight.astype(np.float32)).double()).sum()
    if gradients:
        loss.backward()
    return {
        "ids": torch.tensor(np.concatenate(ids), dtype=torch.int32),
        "starts": torch.tensor(np.cumsum([0] + LENGTHS), dtype=torch.int64),
        "logits": logits.detach().float(),
        "wanted": torch.tensor(wanted, dtype=torch.int64),
        "targets": torch.tensor(targets, dtype=torch.int32),
        "weight": torch.tensor(weight, dtype=torch.float32),
        "loss": loss.detach().double().reshape(1),
    }


LLADA = {
    "model.embed_tokens": "model.transformer.wte", "model.norm": "model.transformer.ln_f",
    "lm_head": "model.transformer.ff_out", "model.layers": "model.transformer.blocks", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out", "post_attention_layernorm": "ff_norm", "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj", "mlp.down_proj": "ff_out",
}


def renamed(name, table):
    for old, new in table.items():
        name = name.replace(old, new)
    return name


def tensors(model, table, of):
    tied = getattr(model.config, "tie_word_embeddings", False)
    return {
        renamed(k, table): of(p).contiguous()
        for k, p in model.named_parameters() if not (tied and k.startswith("lm_head"))
    }


def case(name, model, config, dtype=torch.float32, full=False, shifted=False, gradients=True, table={}, files=1):
    torch.manual_seed(len(name))
    rng = np.random.default_rng(len(name))
    model = model.double().eval()
    with torch.no_grad():
        for p in model.parameters():  # biases and norms too; rounded to the file's type
            noise = torch.randn(p.shape, dtype=torch.float64)
            p.copy_(((1 if p.dim() == 1 and p.mean() > 0.5 else 0) + 0.3 * noise).to(dtype).double())
    folder = os.path.join(here, name)
    os.makedirs(folder, exist_ok=True)
    save_file(cases(model, full, shifted, gradients, rng), os.path.join(folder, "cases.safetensors"))
    weights = tensors(model, table, lambda p: p.detach().to(dtype))
    keys, listed = list(weights), {}
    for i in range(files):
        file = "model.safetensors" if files == 1 else f"model-{i + 1:05d}-of-{files:05d}.safetensors"
        some = {k: weights[k] for k in keys[i::files]}
        save_file(some, os.path.join(folder, file), {"format": "pt"})
        listed |= {k: file for k in some}
    if files > 1:
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": 0}, "weight_map": listed}, f, indent=1)
            f.write("\n")
    if gradients:
        save_file(tensors(model, table, lambda p: p.grad.float()), os.path.join(folder, "gradients.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")


def hugging_face(config, **more):
    """config.json as the package writes it, without what only it reads."""
    drop = ["transformers_version", "architectures", "dtype", "pad_token_id", "output_hidden_states", "return_dict",
            "chunk_size_feed_forward", "is_encoder_decoder", "id2label", "label2id", "problem_type", "output_attentions",
            "initializer_range", "task_specific_params"]
    return {k: v for k, v in config.to_dict().items() if k not in drop and not k.startswith("_")} | more


shape = dict(vocab_size=V, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=32, attn_implementation="eager", bos_token_id=1, eos_token_id=2)

c = LlamaConfig(**shape, rms_norm_eps=1e-5, rope_theta=500000.0, attention_bias=True, mlp_bias=True)
case("llama", LlamaForCausalLM(c), hugging_face(c))

c = Qwen2Config(**shape, tie_word_embeddings=True)
case("qwen2", Qwen2ForCausalLM(c), hugging_face(c), dtype=torch.float16)

c = Qwen2Config(**shape, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=False)
dream = {k: v for k, v in hugging_face(c).items() if k not in ("layer_types", "rope_parameters")}
case("dream", Qwen2ForCausalLM(c), dream | {"model_type": "Dream", "mask_token_id": 37, "rope_theta": 1000000.0},
     dtype=torch.float16, full=True, shifted=True)

c = LlamaConfig(**shape, rms_norm_eps=1e-5, rope_theta=500000.0)
llada = dict(model_type="llada", activation_type="silu", alibi=False, attention_layer_norm=False, block_group_size=1,
             block_type="llama", d_model=24, embedding_size=V, eos_token_id=2, include_bias=False,
             include_qkv_bias=False, input_emb_norm=False, layer_norm_type="rms", mask_token_id=38,
             max_sequence_length=32, mlp_hidden_size=20, mlp_ratio=4, multi_query_attention=None, n_heads=6,
             n_kv_heads=2, n_layers=2, pad_token_id=2, rms_norm_eps=1e-05, rope=True, rope_theta=500000.0,
             scale_logits=False, vocab_size=39, weight_tying=False)
case("llada", LlamaForCausalLM(c), llada, dtype=torch.bfloat16, full=True, table=LLADA, files=3)

c = GPT2Config(vocab_size=V, n_embd=24, n_layer=2, n_head=3, n_positions=32, bos_token_id=1, eos_token_id=2,
               attn_implementation="eager")
case("gpt2", GPT2LMHeadModel(c), hugging_face(c), gradients=False)
c = GPT2Config(vocab_size=V, n_embd=24, n_layer=2, n_head=3, n_positions=32, n_inner=40, bos_token_id=1,
               eos_token_id=2, tie_word_embeddings=False, attn_implementation="eager")
case("gpt2-bare", GPT2LMHeadModel(c), hugging_face(c), dtype=torch.bfloat16, gradients=False,
     table={"transformer.": ""})

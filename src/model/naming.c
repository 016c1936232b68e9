/* naming: the tables of naming.h. What a project's models compute beyond its names is in `shape` and `fixed`. */
#include "model/naming.h"

#include <stdio.h>

/* ---- config.json ---- */

#define NO_IDS .mask_id = -1, .bos_id = -1, .eos_id = -1
#define HUGGING_FACE_KEYS                                                                                              \
    [CONFIG_BLOCK_SIZE] = "max_position_embeddings", [CONFIG_VOCAB_SIZE] = "vocab_size",                               \
    [CONFIG_MASK_ID] = "mask_token_id", [CONFIG_N_LAYER] = "num_hidden_layers",                                        \
    [CONFIG_N_HEAD] = "num_attention_heads", [CONFIG_N_QUERY_GROUPS] = "num_key_value_heads",                          \
    [CONFIG_N_EMBD] = "hidden_size", [CONFIG_INTERMEDIATE_SIZE] = "intermediate_size",                                 \
    [CONFIG_BOS_ID] = "bos_token_id", [CONFIG_EOS_ID] = "eos_token_id", [CONFIG_NORM_EPS] = "rms_norm_eps",            \
    [CONFIG_ROPE_BASE] = "rope_theta", [CONFIG_TIED_HEAD] = "tie_word_embeddings"

const struct dialect dialects[] = {
    {.model_type = "llama",
     .key = {HUGGING_FACE_KEYS, [CONFIG_ATTN_BIAS] = "attention_bias", [CONFIG_PROJ_BIAS] = "attention_bias",
             [CONFIG_MLP_BIAS] = "mlp_bias"},
     .shape = {NO_IDS, .family = FAMILY_ARM, .norm_eps = 1e-6, .rope_base = 10000},
     .fixed = {{"hidden_act", "silu"}, {"rope_scaling", "false"}, {"sliding_window", "false"}}},
    {.model_type = "qwen2",
     .key = {HUGGING_FACE_KEYS},
     .shape = {NO_IDS, .family = FAMILY_ARM, .norm_eps = 1e-6, .rope_base = 10000, .attn_bias = true},
     .fixed = {{"hidden_act", "silu"}, {"rope_scaling", "false"}, {"use_sliding_window", "false"}}},
    {.model_type = "Dream",
     .key = {HUGGING_FACE_KEYS},
     .shape = {NO_IDS, .family = FAMILY_MDM, .norm_eps = 1e-6, .rope_base = 10000, .attn_bias = true, .shifted = true},
     .fixed = {{"hidden_act", "silu"}, {"rope_scaling", "false"}, {"use_sliding_window", "false"}}},
    {.model_type = "llada",
     .key = {[CONFIG_BLOCK_SIZE] = "max_sequence_length",
             [CONFIG_VOCAB_SIZE] = "vocab_size",
             [CONFIG_PADDED_VOCAB_SIZE] = "embedding_size",
             [CONFIG_MASK_ID] = "mask_token_id",
             [CONFIG_N_LAYER] = "n_layers",
             [CONFIG_N_HEAD] = "n_heads",
             [CONFIG_N_QUERY_GROUPS] = "n_kv_heads",
             [CONFIG_N_EMBD] = "d_model",
             [CONFIG_INTERMEDIATE_SIZE] = "mlp_hidden_size",
             [CONFIG_BOS_ID] = "bos_token_id",
             [CONFIG_EOS_ID] = "eos_token_id",
             [CONFIG_NORM_EPS] = "rms_norm_eps",
             [CONFIG_ROPE_BASE] = "rope_theta",
             [CONFIG_TIED_HEAD] = "weight_tying"},
     .shape = {NO_IDS, .family = FAMILY_MDM, .norm_eps = 1e-5, .rope_base = 10000},
     .fixed = {{"block_type", "llama"},
               {"block_group_size", "1"},
               {"activation_type", "silu"},
               {"layer_norm_type", "rms"},
               {"rope", "true"},
               {"alibi", "false"},
               {"multi_query_attention", "false"},
               {"attention_layer_norm", "false"},
               {"input_emb_norm", "false"},
               {"scale_logits", "false"},
               {"include_bias", "false"},
               {"include_qkv_bias", "false"}}},
    {.model_type = "gpt2",
     .key = {[CONFIG_BLOCK_SIZE] = "n_positions",
             [CONFIG_VOCAB_SIZE] = "vocab_size",
             [CONFIG_N_LAYER] = "n_layer",
             [CONFIG_N_HEAD] = "n_head",
             [CONFIG_N_EMBD] = "n_embd",
             [CONFIG_INTERMEDIATE_SIZE] = "n_inner",
             [CONFIG_BOS_ID] = "bos_token_id",
             [CONFIG_EOS_ID] = "eos_token_id",
             [CONFIG_NORM_EPS] = "layer_norm_epsilon",
             [CONFIG_TIED_HEAD] = "tie_word_embeddings"},
     .shape = {NO_IDS, .family = FAMILY_ARM, .norm_eps = 1e-5, .rope_base = 10000, .tied_head = true,
               .norm = NORM_LAYER, .positions = POSITIONS_LEARNED, .mlp = MLP_GELU, .attn_bias = true,
               .proj_bias = true, .mlp_bias = true},
     .mlp_ratio = 4,
     .fixed = {{"activation_function", "gelu_new"},
               {"scale_attn_weights", "true"},
               {"scale_attn_by_inverse_layer_idx", "false"},
               {"add_cross_attention", "false"}}},
};
const int dialects_count = sizeof dialects / sizeof dialects[0];

/* ---- tensors ---- */

/* Published files of GPT-2 lack the `first` that the same model has when its library saves it. */
#define GPT_2(first)                                                                                                   \
    {                                                                                                                  \
        .name = "GPT-2", .layer = first "h.%d.", .transposed = true, .extra = {".attn.bias", ".attn.masked_bias"},     \
        .tensor = {                                                                                                    \
            [PARAM_WTE] = {first "wte"},    [PARAM_WPE] = {first "wpe"},    [PARAM_NORM_1] = {"ln_1"},                 \
            [PARAM_ATTN] = {"attn.c_attn"}, [PARAM_PROJ] = {"attn.c_proj"}, [PARAM_NORM_2] = {"ln_2"},                 \
            [PARAM_W1] = {"mlp.c_fc"},      [PARAM_W3] = {"mlp.c_proj"},    [PARAM_LN_F] = {first "ln_f"},             \
            [PARAM_HEAD] = {"lm_head"},                                                                                \
        },                                                                                                             \
    }

const struct naming namings[] = {
    {.name = "published", .ours = true, .prefix = ""},
    {.name = "checkpoint", .ours = true, .prefix = "param/"},
    {.name = "Hugging Face Llama",
     .layer = "model.layers.%d.",
     .extra = {"rotary_emb.inv_freq"},
     .tensor = {[PARAM_WTE] = {"model.embed_tokens"},
                [PARAM_NORM_1] = {"input_layernorm"},
                [PARAM_ATTN] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                [PARAM_PROJ] = {"self_attn.o_proj"},
                [PARAM_NORM_2] = {"post_attention_layernorm"},
                [PARAM_W1] = {"mlp.gate_proj"},
                [PARAM_W2] = {"mlp.up_proj"},
                [PARAM_W3] = {"mlp.down_proj"},
                [PARAM_LN_F] = {"model.norm"},
                [PARAM_HEAD] = {"lm_head"}}},
    {.name = "LLaDA",
     .layer = "model.transformer.blocks.%d.",
     .tensor = {[PARAM_WTE] = {"model.transformer.wte"},
                [PARAM_NORM_1] = {"attn_norm"},
                [PARAM_ATTN] = {"q_proj", "k_proj", "v_proj"},
                [PARAM_PROJ] = {"attn_out"},
                [PARAM_NORM_2] = {"ff_norm"},
                [PARAM_W1] = {"ff_proj"},
                [PARAM_W2] = {"up_proj"},
                [PARAM_W3] = {"ff_out"},
                [PARAM_LN_F] = {"model.transformer.ln_f"},
                [PARAM_HEAD] = {"model.transformer.ff_out"}}},
    GPT_2("transformer."),
    GPT_2(""),
};
const int namings_count = sizeof namings / sizeof namings[0];

int naming_pieces(const struct naming *n, const struct param *p) {
    return !n->ours && n->tensor[p->role][1] ? 3 : 1;
}

void naming_tensor(char out[NAMING_BYTES], const struct naming *n, const struct param *p, int piece) {
    char layer[NAMING_BYTES / 2] = "";
    if (n->ours) {
        snprintf(out, NAMING_BYTES, "%s%s", n->prefix, p->name);
        return;
    }
    if (p->layer >= 0) snprintf(layer, sizeof layer, n->layer, p->layer);
    snprintf(out, NAMING_BYTES, "%s%s%s", layer, n->tensor[p->role][piece], p->bias ? ".bias" : ".weight");
}

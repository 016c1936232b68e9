/* config: reads and checks the shape of a model. Knows the 30 named models and the two spellings of config.json; knows
 * nothing of weights. Unknown keys are passed over (published files carry many), but a Hugging Face key that would
 * change what the network computes, and that this program does not do, is refused. */
#include "model/config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"

enum { CONFIG_BYTES_MAX = 1 << 20, NAMED_BLOCK = 2048, VOCAB_MULTIPLE = 64, VOCAB_MAX = 1 << 24 };

const char *const family_names[2] = {"mdm", "arm"};

const struct named_model named_models[] = {
    {6, 6, 4, 256, 1024},       {19, 8, 6, 384, 1536},      {34, 8, 8, 512, 2048},      {48, 9, 9, 576, 2304},
    {66, 10, 10, 640, 2560},    {75, 16, 8, 640, 1600},     {85, 13, 10, 640, 2560},    {113, 12, 12, 768, 3072},
    {142, 15, 12, 768, 3072},   {170, 18, 12, 768, 3072},   {180, 14, 14, 896, 3584},   {206, 16, 14, 896, 3584},
    {231, 18, 14, 896, 3584},   {268, 16, 16, 1024, 4096},  {302, 18, 16, 1024, 4096},  {336, 20, 16, 1024, 4096},
    {472, 18, 10, 1280, 5120},  {551, 21, 10, 1280, 5120},  {571, 18, 11, 1408, 5632},  {629, 24, 10, 1280, 5120},
    {666, 21, 11, 1408, 5632},  {717, 19, 12, 1536, 6144},  {761, 24, 11, 1408, 5632},  {831, 22, 12, 1536, 6144},
    {944, 25, 12, 1536, 6144},  {1028, 20, 14, 1792, 7168}, {1233, 24, 14, 1792, 7168}, {1476, 22, 16, 2048, 8192},
    {1678, 25, 16, 2048, 8192}, {2121, 28, 17, 2176, 8704},
};
const int named_models_count = sizeof named_models / sizeof named_models[0];

/* The numbers of a config: key in our files, key in Hugging Face's (NULL: not there), place, range. The caps keep every
 * product of them below 2^62. */
static const struct key {
    const char *ours, *hf;
    size_t offset;
    int64_t min, max;
    bool required;
} keys[] = {
    {"block_size", "max_position_embeddings", offsetof(struct config, block_size), 1, 1 << 22, true},
    {"vocab_size", "vocab_size", offsetof(struct config, vocab_size), 1, VOCAB_MAX, true},
    {"padded_vocab_size", NULL, offsetof(struct config, padded_vocab_size), 1, VOCAB_MAX, false},
    {"mask_id", "mask_token_id", offsetof(struct config, mask_id), -1, VOCAB_MAX, false},
    {"n_layer", "num_hidden_layers", offsetof(struct config, n_layer), 1, 4096, true},
    {"n_head", "num_attention_heads", offsetof(struct config, n_head), 1, 4096, true},
    {"n_query_groups", "num_key_value_heads", offsetof(struct config, n_query_groups), 1, 4096, false},
    {"n_embd", "hidden_size", offsetof(struct config, n_embd), 2, 1 << 16, true},
    {"intermediate_size", "intermediate_size", offsetof(struct config, intermediate_size), 2, 1 << 18, true},
    {"bos_id", "bos_token_id", offsetof(struct config, bos_id), -1, VOCAB_MAX, false},
    {"eos_id", "eos_token_id", offsetof(struct config, eos_id), -1, VOCAB_MAX, false},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static int64_t *place(struct config *c, const struct key *k) {
    return (int64_t *)((char *)c + k->offset);
}

static int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/* ---- rules ---- */

static int check_relations(const struct config *c, const char *where, struct err *err) {
    long long E = c->n_embd, H = c->n_head, G = c->n_query_groups, V = c->padded_vocab_size, rows = V;
    if (E % H) return err_set(err, "%s: n_embd %lld is not a multiple of n_head %lld", where, E, H);
    if (E / H % 2) return err_set(err, "%s: head size %lld (n_embd/n_head) must be even", where, E / H);
    if (H % G) return err_set(err, "%s: n_head %lld is not a multiple of n_query_groups %lld", where, H, G);
    if (c->vocab_size > V)
        return err_set(err, "%s: vocab_size %lld is above padded_vocab_size %lld", where, (long long)c->vocab_size, V);
    if (c->family == FAMILY_MDM) {
        rows++;
        if (c->mask_id < 0) return err_set(err, "%s: a model of family mdm needs a mask_id", where);
    } else if (c->mask_id != -1) {
        return err_set(err, "%s: a model of family arm has no mask_id, found %lld", where, (long long)c->mask_id);
    }
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"mask_id", c->mask_id}, {"bos_id", c->bos_id}, {"eos_id", c->eos_id}};
    for (int i = 0; i < 3; i++)
        if (ids[i].id >= rows)
            return err_set(err, "%s: %s %lld is outside the embedding of %lld rows", where, ids[i].name,
                           (long long)ids[i].id, rows);
    return 0;
}

int config_check(const struct config *c, const char *where, struct err *err) {
    if (c->family != FAMILY_MDM && c->family != FAMILY_ARM) return err_set(err, "%s: family must be mdm or arm", where);
    for (int i = 0; i < KEYS; i++) {
        int64_t x = *(const int64_t *)((const char *)c + keys[i].offset);
        if (x < keys[i].min || x > keys[i].max)
            return err_set(err, "%s: %s must be in [%lld, %lld], found %lld", where, keys[i].ours,
                           (long long)keys[i].min, (long long)keys[i].max, (long long)x);
    }
    if (!(c->norm_eps > 0 && c->norm_eps <= 1))
        return err_set(err, "%s: norm_eps must be in (0, 1], found %g", where, c->norm_eps);
    if (!(c->rope_base > 1 && c->rope_base <= 1e12))
        return err_set(err, "%s: rope_base must be in (1, 1e12], found %g", where, c->rope_base);
    return check_relations(c, where, err);
}

/* ---- named models ---- */

/* "170" and "170M"; anything that is not such a number is no name. */
static const struct named_model *find_named(const char *name) {
    char *end;
    long n = strtol(name, &end, 10);
    if (end == name || name[0] < '0' || name[0] > '9' || (strcmp(end, "") != 0 && strcmp(end, "M") != 0)) return NULL;
    for (int i = 0; i < named_models_count; i++)
        if (named_models[i].name == n) return &named_models[i];
    return NULL;
}

int config_named(struct config *c, const char *name, enum family family, int64_t vocab, struct err *err) {
    const struct named_model *m = find_named(name);
    if (!m)
        return err_set(
            err, "no model is named '%s': expected one of %d, %d, … %d ('mdm models' lists them) or a config.json",
            name, named_models[0].name, named_models[1].name, named_models[named_models_count - 1].name);
    int64_t padded = vocab > 0 && vocab <= VOCAB_MAX ? round_up(vocab, VOCAB_MULTIPLE) : 0;
    *c = (struct config){.family = family,
                         .block_size = NAMED_BLOCK,
                         .vocab_size = vocab,
                         .padded_vocab_size = padded,
                         .mask_id = family == FAMILY_MDM ? padded : -1,
                         .n_layer = m->n_layer,
                         .n_head = m->n_head,
                         .n_query_groups = m->n_head,
                         .n_embd = m->n_embd,
                         .intermediate_size = m->intermediate_size,
                         .norm_eps = 1e-5,
                         .rope_base = 10000,
                         .rope_bf16 = true,
                         .bos_id = -1,
                         .eos_id = -1};
    return config_check(c, name, err);
}

/* ---- config.json ---- */

/* A null stands for an absent member, as Hugging Face writes it. */
static const json_t *member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static bool is_hugging_face(const json_t *o) {
    return member(o, "model_type") || (member(o, "hidden_size") && !member(o, "n_embd"));
}

/* Settings of a Hugging Face file under which the network would be another one. */
static int refuse_other_networks(const json_t *o, const char *where, struct err *err) {
    static const struct { const char *key, *accepted; } words[] = {{"model_type", "llama"}, {"hidden_act", "silu"}};
    static const char *const absent[] = {"attention_bias", "mlp_bias", "rope_scaling", "sliding_window"};
    for (int i = 0; i < 2; i++) {
        const char *word = words[i].accepted;
        if (member(o, words[i].key) && json_get_str(o, words[i].key, &word, false, where, err) < 0) return -1;
        if (strcmp(word, words[i].accepted) != 0)
            return err_set(err, "%s: %s '%s' is not supported, only '%s' is", where, words[i].key, word,
                           words[i].accepted);
    }
    for (int i = 0; i < 4; i++) {
        const json_t *v = member(o, absent[i]);
        if (v && !json_is_false(v)) return err_set(err, "%s: %s is set, which is not supported", where, absent[i]);
    }
    return 0;
}

static int read_real(const json_t *o, const char *key, double *out, const char *where, struct err *err) {
    return member(o, key) ? json_get_real(o, key, out, false, where, err) : 0;
}

static int read_bool(const json_t *o, const char *key, bool *out, const char *where, struct err *err) {
    return member(o, key) ? json_get_bool(o, key, out, false, where, err) : 0;
}

/* rope_theta stands at the top, or in rope_parameters in files of newer versions. */
static int read_hugging_face(struct config *c, const json_t *o, const char *where, struct err *err) {
    if (refuse_other_networks(o, where, err) < 0) return -1;
    c->norm_eps = 1e-6;
    c->rope_bf16 = false;
    if (read_real(o, "rms_norm_eps", &c->norm_eps, where, err) < 0) return -1;
    if (read_real(o, "rope_theta", &c->rope_base, where, err) < 0) return -1;
    if (read_bool(o, "tie_word_embeddings", &c->tied_head, where, err) < 0) return -1;
    const json_t *rope = member(o, "rope_parameters");
    if (!rope) return 0;
    const char *type = "default";
    if (!json_is_object(rope)) return err_set(err, "%s: rope_parameters must be an object", where);
    if (json_get_str(rope, "rope_type", &type, false, where, err) < 0) return -1;
    if (strcmp(type, "default") != 0)
        return err_set(err, "%s: rope_type '%s' is not supported, only 'default' is", where, type);
    return read_real(rope, "rope_theta", &c->rope_base, where, err);
}

static int read_ours(struct config *c, const json_t *o, const char *where, struct err *err) {
    if (read_real(o, "norm_eps", &c->norm_eps, where, err) < 0) return -1;
    if (read_real(o, "rope_base", &c->rope_base, where, err) < 0) return -1;
    if (read_bool(o, "rope_bf16", &c->rope_bf16, where, err) < 0) return -1;
    return read_bool(o, "tied_head", &c->tied_head, where, err);
}

/* Some Hugging Face files give a list of end ids: the first is taken. */
static int read_number(struct config *c, const struct key *k, bool hf, const json_t *o, const char *where,
                       struct err *err) {
    const char *name = hf ? k->hf : k->ours;
    if (!name) return 0;
    const json_t *v = member(o, name), *first = json_array_get(v, 0);
    if (!v && !k->required) return 0;
    if (!v) return err_set(err, "%s: \"%s\" is missing", where, name);
    if (!hf || !json_is_integer(first)) return json_get_int(o, name, place(c, k), k->min, k->max, true, where, err);
    json_int_t id = json_integer_value(first);
    if (id < k->min || id > k->max) return err_set(err, "%s: \"%s\": %lld is out of range", where, name, (long long)id);
    *place(c, k) = id;
    return 0;
}

/* default_family may be NULL: then the file must say. */
static int read_family(struct config *c, const json_t *o, bool hf, const enum family *default_family, const char *where,
                       struct err *err) {
    const char *word = NULL;
    int found = json_get_str(o, "family", &word, false, where, err);
    if (found < 0) return -1;
    if (!found && !hf && !default_family)
        return err_set(err, "%s: \"family\" is missing: expected \"mdm\" or \"arm\"", where);
    if (!found)
        c->family = hf ? FAMILY_ARM : *default_family;
    else if (!strcmp(word, "mdm"))
        c->family = FAMILY_MDM;
    else if (!strcmp(word, "arm"))
        c->family = FAMILY_ARM;
    else
        return err_set(err, "%s: \"family\" must be \"mdm\" or \"arm\", found \"%s\"", where, word);
    return 0;
}

static int from_json(struct config *c, const json_t *o, const enum family *default_family, const char *where,
                     struct err *err) {
    *c = (struct config){.norm_eps = 1e-5, .rope_base = 10000, .rope_bf16 = true};
    c->mask_id = c->bos_id = c->eos_id = -1;
    if (!json_is_object(o)) return err_set(err, "%s: expected a JSON object", where);
    bool hf = is_hugging_face(o);
    if (read_family(c, o, hf, default_family, where, err) < 0) return -1;
    if ((hf ? read_hugging_face : read_ours)(c, o, where, err) < 0) return -1;
    for (int i = 0; i < KEYS; i++)
        if (read_number(c, &keys[i], hf, o, where, err) < 0) return -1;
    if (!c->padded_vocab_size) c->padded_vocab_size = hf ? c->vocab_size : round_up(c->vocab_size, VOCAB_MULTIPLE);
    if (!c->n_query_groups) c->n_query_groups = c->n_head;
    if (c->family == FAMILY_ARM)
        c->mask_id = -1;
    else if (c->mask_id < 0)
        c->mask_id = c->padded_vocab_size;
    if (config_check(c, where, err) < 0) return -1;
    const json_t *head = hf ? member(o, "head_dim") : NULL;
    if (head && (!json_is_integer(head) || json_integer_value(head) != config_head_dim(c)))
        return err_set(err, "%s: head_dim must be hidden_size/num_attention_heads = %lld", where,
                       (long long)config_head_dim(c));
    return 0;
}

int config_from_json(struct config *c, const json_t *o, const char *where, struct err *err) {
    return from_json(c, o, NULL, where, err);
}

int config_load(struct config *c, const char *name_or_path, enum family family, int64_t vocab, struct err *err) {
    char path[FILE_PATH_MAX];
    if (!file_exists(name_or_path)) return config_named(c, name_or_path, family, vocab, err);
    if (file_join(path, name_or_path, "config.json", err) < 0) return -1;
    if (!file_is_dir(name_or_path)) snprintf(path, sizeof path, "%s", name_or_path);
    json_t *o = json_read_file(path, CONFIG_BYTES_MAX, err);
    if (!o) return -1;
    int status = from_json(c, o, &family, path, err);
    json_decref(o);
    return status;
}

json_t *config_to_json(const struct config *c) {
    json_t *o = json_pack("{s:s}", "family", family_names[c->family]);
    int bad = !o;
    for (int i = 0; i < KEYS; i++)
        bad |= json_object_set_new(o, keys[i].ours, json_integer(*(const int64_t *)((const char *)c + keys[i].offset)));
    bad |= json_object_set_new(o, "norm_eps", json_real(c->norm_eps));
    bad |= json_object_set_new(o, "rope_base", json_real(c->rope_base));
    bad |= json_object_set_new(o, "rope_bf16", json_boolean(c->rope_bf16));
    if (c->tied_head) bad |= json_object_set_new(o, "tied_head", json_true());
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

/* ---- counts ---- */

int64_t config_params_body(const struct config *c) {
    int64_t E = c->n_embd, qkv = (c->n_head + 2 * c->n_query_groups) * config_head_dim(c);
    int64_t layer = 2 * E + qkv * E + E * E + 3 * E * c->intermediate_size;
    return c->n_layer * layer + E;
}

int64_t config_params(const struct config *c) {
    int64_t embedding = (c->padded_vocab_size + (c->family == FAMILY_MDM)) * c->n_embd;
    int64_t head = c->tied_head ? 0 : c->padded_vocab_size * c->n_embd;
    return config_params_body(c) + embedding + head;
}

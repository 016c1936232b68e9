/* config: reads and checks the shape of a model. Knows the 30 named models and our spelling of config.json; those of other
 * projects are tables (naming.h). Unknown keys are passed over (published files carry many), but a setting that would
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
#include "base/num.h"
#include "model/naming.h"

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

/* Our keys: place, and what may stand there. The caps keep every product of the numbers below 2^62. */
enum key_type { INTEGER, REAL, BOOLEAN, WORD };
static const struct key {
    const char *name;
    enum key_type type;
    size_t offset;
    int64_t min, max;
    const char *words[2]; /* of a WORD, in the order of its enum */
    bool quiet;           /* written only where it is not what its absence means */
} keys[CONFIG_KEYS] = {
#define AT(member) offsetof(struct config, member)
    [CONFIG_BLOCK_SIZE] = {"block_size", INTEGER, AT(block_size), 1, 1 << 22},
    [CONFIG_VOCAB_SIZE] = {"vocab_size", INTEGER, AT(vocab_size), 1, VOCAB_MAX},
    [CONFIG_PADDED_VOCAB_SIZE] = {"padded_vocab_size", INTEGER, AT(padded_vocab_size), 1, VOCAB_MAX},
    [CONFIG_MASK_ID] = {"mask_id", INTEGER, AT(mask_id), -1, VOCAB_MAX},
    [CONFIG_N_LAYER] = {"n_layer", INTEGER, AT(n_layer), 1, 4096},
    [CONFIG_N_HEAD] = {"n_head", INTEGER, AT(n_head), 1, 4096},
    [CONFIG_N_QUERY_GROUPS] = {"n_query_groups", INTEGER, AT(n_query_groups), 1, 4096},
    [CONFIG_N_EMBD] = {"n_embd", INTEGER, AT(n_embd), 2, 1 << 16},
    [CONFIG_INTERMEDIATE_SIZE] = {"intermediate_size", INTEGER, AT(intermediate_size), 2, 1 << 18},
    [CONFIG_BOS_ID] = {"bos_id", INTEGER, AT(bos_id), -1, VOCAB_MAX},
    [CONFIG_EOS_ID] = {"eos_id", INTEGER, AT(eos_id), -1, VOCAB_MAX},
    [CONFIG_NORM_EPS] = {"norm_eps", REAL, AT(norm_eps)},
    [CONFIG_ROPE_BASE] = {"rope_base", REAL, AT(rope_base)},
    [CONFIG_ROPE_BF16] = {"rope_bf16", BOOLEAN, AT(rope_bf16)},
    [CONFIG_TIED_HEAD] = {"tied_head", BOOLEAN, AT(tied_head), .quiet = true},
    [CONFIG_MASK_INSIDE] = {"mask_inside", BOOLEAN, AT(mask_inside), .quiet = true},
    [CONFIG_SHIFTED] = {"shifted", BOOLEAN, AT(shifted), .quiet = true},
    [CONFIG_NORM] = {"norm", WORD, AT(norm), .words = {"rms", "layer"}, .quiet = true},
    [CONFIG_POSITIONS] = {"positions", WORD, AT(positions), .words = {"rotary", "learned"}, .quiet = true},
    [CONFIG_MLP] = {"mlp", WORD, AT(mlp), .words = {"swiglu", "gelu"}, .quiet = true},
    [CONFIG_ATTN_BIAS] = {"attn_bias", BOOLEAN, AT(attn_bias), .quiet = true},
    [CONFIG_PROJ_BIAS] = {"proj_bias", BOOLEAN, AT(proj_bias), .quiet = true},
    [CONFIG_MLP_BIAS] = {"mlp_bias", BOOLEAN, AT(mlp_bias), .quiet = true},
#undef AT
};
static const struct config our_defaults = {
    .mask_id = -1, .bos_id = -1, .eos_id = -1, .norm_eps = 1e-5, .rope_base = 10000, .rope_bf16 = true};

static const void *at(const struct config *c, const struct key *k) {
    return (const char *)c + k->offset;
}

static void *place(struct config *c, const struct key *k) {
    return (char *)c + k->offset;
}

/* ---- rules ---- */

static int check_ids(const struct config *c, const char *where, struct err *err) {
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"mask_id", c->mask_id}, {"bos_id", c->bos_id}, {"eos_id", c->eos_id}};
    const long long rows = config_embedding_rows(c);
    if (c->vocab_size > c->padded_vocab_size)
        return err_set(err, "%s: vocab_size %lld is above padded_vocab_size %lld", where, (long long)c->vocab_size,
                       (long long)c->padded_vocab_size);
    if (c->family == FAMILY_MDM && c->mask_id < 0)
        return err_set(err, "%s: a model of family mdm needs a mask_id", where);
    if (c->family == FAMILY_ARM && (c->mask_id != -1 || c->mask_inside || c->shifted))
        return err_set(err, "%s: a model of family arm has no mask_id, no mask_inside and no shifted", where);
    for (int i = 0; i < 3; i++)
        if (ids[i].id >= rows)
            return err_set(err, "%s: %s %lld is outside the embedding of %lld rows", where, ids[i].name,
                           (long long)ids[i].id, rows);
    return 0;
}

static int check_heads(const struct config *c, const char *where, struct err *err) {
    long long width = c->n_embd, H = c->n_head, G = c->n_query_groups;
    if (width % H) return err_set(err, "%s: n_embd %lld is not a multiple of n_head %lld", where, width, H);
    if (width / H % 2) return err_set(err, "%s: head size %lld (n_embd/n_head) must be even", where, width / H);
    if (H % G) return err_set(err, "%s: n_head %lld is not a multiple of n_query_groups %lld", where, H, G);
    return 0;
}

int config_check(const struct config *c, const char *where, struct err *err) {
    if (c->family != FAMILY_MDM && c->family != FAMILY_ARM) return err_set(err, "%s: family must be mdm or arm", where);
    for (int i = 0; i < CONFIG_KEYS; i++) {
        if (keys[i].type != INTEGER) continue;
        const int64_t x = *(const int64_t *)at(c, &keys[i]);
        if (x < keys[i].min || x > keys[i].max)
            return err_set(err, "%s: %s must be in [%lld, %lld], found %lld", where, keys[i].name,
                           (long long)keys[i].min, (long long)keys[i].max, (long long)x);
    }
    if (!(c->norm_eps > 0 && c->norm_eps <= 1))
        return err_set(err, "%s: norm_eps must be in (0, 1], found %g", where, c->norm_eps);
    if (!(c->rope_base > 1 && c->rope_base <= 1e12))
        return err_set(err, "%s: rope_base must be in (1, 1e12], found %g", where, c->rope_base);
    return check_heads(c, where, err) < 0 ? -1 : check_ids(c, where, err);
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

bool config_is_name(const char *name_or_path) {
    return find_named(name_or_path) != NULL;
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

/* Which project's the file is, NULL: ours. A file without model_type but with hidden_size is Llama's. */
static int find_dialect(const struct dialect **d, const json_t *o, const char *where, struct err *err) {
    const char *type = member(o, "hidden_size") && !member(o, "n_embd") ? "llama" : NULL;
    *d = NULL;
    if (member(o, "model_type") && json_get_str(o, "model_type", &type, false, where, err) < 0) return -1;
    if (!type) return 0;
    char known[128] = "";
    for (int i = 0; i < dialects_count; i++) {
        if (!strcmp(dialects[i].model_type, type)) *d = &dialects[i];
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", dialects[i].model_type);
    }
    return *d ? 0 : err_set(err, "%s: model_type '%s' is not supported; supported are %s", where, type, known);
}

/* Settings under which the network would be another one. */
static int check_fixed(const struct dialect *d, const json_t *o, const char *where, struct err *err) {
    for (int i = 0; i < (int)(sizeof d->fixed / sizeof *d->fixed) && d->fixed[i].key; i++) {
        const json_t *v = member(o, d->fixed[i].key);
        char number[32], *found = "something else";
        if (!v) continue;
        if (json_is_string(v)) found = (char *)json_string_value(v);
        if (json_is_boolean(v)) found = json_is_true(v) ? "true" : "false";
        if (json_is_integer(v)) {
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
            found = number;
        }
        if (strcmp(found, d->fixed[i].value) != 0)
            return err_set(err, "%s: %s: %s is not supported, only %s is", where, d->fixed[i].key, found,
                           d->fixed[i].value);
    }
    return 0;
}

static int read_word(const json_t *o, const char *name, const struct key *k, void *out, const char *where,
                     struct err *err) {
    const char *word;
    if (json_get_str(o, name, &word, true, where, err) < 0) return -1;
    for (int i = 0; i < 2; i++) {
        if (strcmp(word, k->words[i]) != 0) continue;
        *(int *)out = i;
        return 0;
    }
    return err_set(err, "%s: \"%s\" must be \"%s\" or \"%s\", found \"%s\"", where, name, k->words[0], k->words[1],
                   word);
}

/* Some files of other projects give a list of end ids: the first is taken. */
static int read_integer(const json_t *o, const char *name, const struct key *k, bool list, int64_t *out,
                        const char *where, struct err *err) {
    const json_t *first = json_array_get(member(o, name), 0);
    if (!list || !json_is_integer(first)) return json_get_int(o, name, out, k->min, k->max, true, where, err);
    const json_int_t id = json_integer_value(first);
    if (id < k->min || id > k->max) return err_set(err, "%s: \"%s\": %lld is out of range", where, name, (long long)id);
    *out = id;
    return 0;
}

static const char *spelled(const struct dialect *d, int key) {
    return d ? d->key[key] : keys[key].name;
}

static int read_key(struct config *c, const json_t *o, const struct dialect *d, int key, const char *where,
                    struct err *err) {
    const char *name = spelled(d, key);
    const struct key *k = &keys[key];
    if (!name || !member(o, name)) return 0;
    switch (k->type) {
    case INTEGER:
        return read_integer(o, name, k, d != NULL, place(c, k), where, err);
    case REAL:
        return json_get_real(o, name, place(c, k), true, where, err);
    case BOOLEAN:
        return json_get_bool(o, name, place(c, k), true, where, err);
    case WORD:
        return read_word(o, name, k, place(c, k), where, err);
    }
    return 0;
}

/* Files of newer versions have rope_theta in rope_parameters. */
static int read_rope(struct config *c, const json_t *o, const char *where, struct err *err) {
    const json_t *rope = member(o, "rope_parameters");
    if (!rope) return 0;
    const char *type = "default";
    if (!json_is_object(rope)) return err_set(err, "%s: rope_parameters must be an object", where);
    if (json_get_str(rope, "rope_type", &type, false, where, err) < 0) return -1;
    if (strcmp(type, "default") != 0)
        return err_set(err, "%s: rope_type '%s' is not supported, only 'default' is", where, type);
    return json_get_real(rope, "rope_theta", &c->rope_base, false, where, err);
}

/* default_family FAMILY_ANY: one of our files must say. */
static int read_family(struct config *c, const json_t *o, const struct dialect *d, enum family default_family,
                       const char *where, struct err *err) {
    const char *word = NULL;
    int found = json_get_str(o, "family", &word, false, where, err);
    if (found < 0) return -1;
    if (!found && !d && default_family == FAMILY_ANY)
        return err_set(err, "%s: \"family\" is missing: expected \"mdm\" or \"arm\"", where);
    if (!found)
        c->family = d ? d->shape.family : default_family;
    else if (!strcmp(word, "mdm"))
        c->family = FAMILY_MDM;
    else if (!strcmp(word, "arm"))
        c->family = FAMILY_ARM;
    else
        return err_set(err, "%s: \"family\" must be \"mdm\" or \"arm\", found \"%s\"", where, word);
    return 0;
}

/* What absent members follow from. */
static int complete(struct config *c, const struct dialect *d, const char *where, struct err *err) {
    if (!c->intermediate_size && d) c->intermediate_size = d->mlp_ratio * c->n_embd;
    if (!c->n_query_groups) c->n_query_groups = c->n_head;
    if (!c->padded_vocab_size) c->padded_vocab_size = d ? c->vocab_size : round_up(c->vocab_size, VOCAB_MULTIPLE);
    for (int i = 0; i < CONFIG_KEYS; i++)
        if (keys[i].type == INTEGER && keys[i].min > 0 && *(const int64_t *)at(c, &keys[i]) == 0)
            return err_set(err, "%s: \"%s\" is missing", where, spelled(d, i));
    if (c->family == FAMILY_ARM)
        c->mask_id = -1;
    else if (c->mask_id < 0)
        c->mask_id = c->padded_vocab_size;
    if (d) c->mask_inside = c->family == FAMILY_MDM && c->mask_id < c->padded_vocab_size;
    return 0;
}

static int from_json(struct config *c, const json_t *o, enum family default_family, const char *where,
                     struct err *err) {
    const struct dialect *d;
    if (!json_is_object(o)) return err_set(err, "%s: expected a JSON object", where);
    if (find_dialect(&d, o, where, err) < 0) return -1;
    *c = d ? d->shape : our_defaults;
    if (read_family(c, o, d, default_family, where, err) < 0) return -1;
    if (d && check_fixed(d, o, where, err) < 0) return -1;
    for (int i = 0; i < CONFIG_KEYS; i++)
        if (read_key(c, o, d, i, where, err) < 0) return -1;
    if (d && read_rope(c, o, where, err) < 0) return -1;
    if (complete(c, d, where, err) < 0 || config_check(c, where, err) < 0) return -1;
    const json_t *head = d ? member(o, "head_dim") : NULL;
    if (head && (!json_is_integer(head) || json_integer_value(head) != config_head_dim(c)))
        return err_set(err, "%s: head_dim must be hidden_size/num_attention_heads = %lld", where,
                       (long long)config_head_dim(c));
    return 0;
}

int config_from_json(struct config *c, const json_t *o, const char *where, struct err *err) {
    return from_json(c, o, FAMILY_ANY, where, err);
}

int config_load(struct config *c, const char *name_or_path, enum family family, int64_t vocab, struct err *err) {
    char path[FILE_PATH_MAX];
    if (config_is_name(name_or_path) || !file_exists(name_or_path))
        return config_named(c, name_or_path, family, vocab, err);
    if (file_join(path, name_or_path, "config.json", err) < 0) return -1;
    if (!file_is_dir(name_or_path)) snprintf(path, sizeof path, "%s", name_or_path);
    json_t *o = json_read_file(path, CONFIG_BYTES_MAX, err);
    if (!o) return -1;
    int status = from_json(c, o, family, path, err);
    json_decref(o);
    return status;
}

static json_t *value_of(const struct config *c, const struct key *k) {
    switch (k->type) {
    case INTEGER:
        return json_integer(*(const int64_t *)at(c, k));
    case REAL:
        return json_real(*(const double *)at(c, k));
    case BOOLEAN:
        return json_boolean(*(const bool *)at(c, k));
    case WORD:
        return json_string(k->words[*(const int *)at(c, k)]);
    }
    return NULL;
}

json_t *config_to_json(const struct config *c) {
    json_t *o = json_pack("{s:s}", "family", family_names[c->family]);
    int bad = !o;
    for (int i = 0; i < CONFIG_KEYS && !bad; i++) {
        json_t *v = value_of(c, &keys[i]), *absent = value_of(&our_defaults, &keys[i]);
        bad = !v || !absent;
        if (!bad && !(keys[i].quiet && json_equal(v, absent))) bad = json_object_set(o, keys[i].name, v) < 0;
        json_decref(v);
        json_decref(absent);
    }
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

int config_check_vocab(const struct config *c, int64_t vocab, const char *where, struct err *err) {
    if (vocab <= c->vocab_size) return 0;
    return err_set(err, "%s has a vocabulary of %lld, the tokenizer one of %lld: they do not belong together", where,
                   (long long)c->vocab_size, (long long)vocab);
}

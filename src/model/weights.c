/* weights: finds a model's tensors in a safetensors file, under the published names or Hugging Face's, and checks each
 * against the table of parameters. What a file holds in the right form is used where it is mapped; the rest is built
 * here. No arithmetic but conversion between f32 and bf16. */
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/ops.h"

enum { NAME_BYTES = 128 };

/* Hugging Face's names of the Llama architecture. The three of PARAM_ATTN make one fused tensor. */
enum { QUERY, KEY, VALUE };
static const char *const hf_attention[] = {"q_proj", "k_proj", "v_proj"};
static const char *const hf_names[] = {
    [PARAM_WTE] = "model.embed_tokens.weight", [PARAM_NORM_1] = "input_layernorm.weight",
    [PARAM_PROJ] = "self_attn.o_proj.weight",  [PARAM_NORM_2] = "post_attention_layernorm.weight",
    [PARAM_W1] = "mlp.gate_proj.weight",       [PARAM_W2] = "mlp.up_proj.weight",
    [PARAM_W3] = "mlp.down_proj.weight",       [PARAM_LN_F] = "model.norm.weight",
    [PARAM_HEAD] = "lm_head.weight",
};

enum naming { PUBLISHED, CHECKPOINT, HUGGING_FACE, NAMINGS };
static const struct {
    const char *name, *prefix, *embedding, *head;
} namings[NAMINGS] = {
    {"published", "", "transformer.wte.weight", "lm_head.weight"},
    {"checkpoint", "param/", "param/transformer.wte.weight", "param/lm_head.weight"},
    {"Hugging Face Llama", "", "model.embed_tokens.weight", "lm_head.weight"},
};

static enum naming naming_of(const struct safetensors *file) {
    int n = 0;
    while (n < NAMINGS && !safetensors_find(file, namings[n].embedding)) n++;
    return (enum naming)n;
}

const char *weights_naming(const struct safetensors *file) {
    enum naming n = naming_of(file);
    return n < NAMINGS ? namings[n].name : NULL;
}

/* ---- paths ---- */

int weights_folder(char *out, const char *path, struct err *err) {
    if (!file_exists(path)) return err_set(err, "no such file or folder: '%s'", path);
    if (file_is_dir(path)) return file_join(out, path, "", err);
    const char *slash = strrchr(path, '/');
    if (!slash) return file_join(out, ".", "", err);
    int n = snprintf(out, FILE_PATH_MAX, "%.*s", (int)(slash - path) + 1, path);
    return n < FILE_PATH_MAX ? 0 : err_set(err, "the path '%.100s…' is too long", path);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static bool starts_with(const char *s, const char *start) {
    return !strncmp(s, start, strlen(start));
}

int weights_file(char *out, const char *path, struct err *err) {
    char **names;
    const char *only = NULL, *checkpoint = NULL;
    int64_t count, found = 0;
    if (!file_exists(path)) return err_set(err, "no such file or folder: '%s'", path);
    if (!file_is_dir(path)) return file_join(out, "", path, err);
    if (file_join(out, path, "model.safetensors", err) < 0) return -1;
    if (file_exists(out)) return 0;
    if (file_list(&names, &count, path, err) < 0) return -1;
    for (int64_t i = 0; i < count; i++) { /* in order, so that the last checkpoint is the newest */
        if (!ends_with(names[i], ".safetensors")) continue;
        if (starts_with(names[i], "checkpoint-")) {
            checkpoint = names[i];
        } else {
            only = names[i];
            found++;
        }
    }
    int status = -1;
    if (found > 1)
        err_set(err,
                "%s: %lld *.safetensors and no model.safetensors: name the file (models split into several files "
                "must be joined first)",
                path, (long long)found);
    else if (only || checkpoint)
        status = file_join(out, path, only ? only : checkpoint, err);
    else
        err_set(err, "%s: no *.safetensors in this folder", path);
    file_list_free(names, count);
    return status;
}

/* ---- which config ---- */

/* A tensor with two dimensions, under a name that the naming's prefix completes. */
static const struct st_tensor *find_matrix(const struct safetensors *file, enum naming n, const char *name) {
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", namings[n].prefix, name);
    const struct st_tensor *t = safetensors_find(file, full);
    return t && t->ndim == 2 ? t : NULL;
}

const struct named_model *weights_match(const struct safetensors *file, enum family *family) {
    enum naming n = naming_of(file);
    if (n != PUBLISHED && n != CHECKPOINT) return NULL;
    const struct st_tensor *wte = find_matrix(file, n, "transformer.wte.weight");
    const struct st_tensor *head = find_matrix(file, n, "lm_head.weight");
    const struct st_tensor *w1 = find_matrix(file, n, "transformer.h.0.mlp.swiglu.w1.weight");
    if (!wte || !head || !w1) return NULL;
    int64_t more = wte->shape[0] - head->shape[0];
    if (more != 0 && more != 1) return NULL;
    *family = more ? FAMILY_MDM : FAMILY_ARM;
    char name[NAME_BYTES];
    int layers = 0;
    do snprintf(name, sizeof name, "transformer.h.%d.mlp.swiglu.w1.weight", ++layers);
    while (find_matrix(file, n, name));
    for (int i = 0; i < named_models_count; i++) {
        const struct named_model *m = &named_models[i];
        if (m->n_layer == layers && m->n_embd == wte->shape[1] && m->intermediate_size == w1->shape[0]) return m;
    }
    return NULL;
}

static int64_t head_rows(const struct safetensors *file, enum naming n, enum family family) {
    const struct st_tensor *head = safetensors_find(file, namings[n].head);
    const struct st_tensor *wte = safetensors_find(file, namings[n].embedding);
    if (head && head->ndim == 2) return head->shape[0];
    return wte->ndim == 2 ? wte->shape[0] - (family == FAMILY_MDM) : 0;
}

/* The rows of the head are the padded vocabulary: for a name, and where a file of another project does not say. */
static int choose_config(struct weights *w, enum naming n, const char *path, const char *model, enum family family,
                         struct err *err) {
    char beside[FILE_PATH_MAX], folder[FILE_PATH_MAX], name[16];
    if (!model) {
        if (weights_folder(folder, path, err) < 0 || file_join(beside, folder, "config.json", err) < 0) return -1;
        enum family shown;
        const struct named_model *m = file_exists(beside) ? NULL : weights_match(&w->file, &shown);
        if (m) snprintf(name, sizeof name, "%d", m->name);
        if (!m && !file_exists(beside))
            return err_set(err,
                           "%s: no config.json beside it, and it is none of the named models: name one or a "
                           "config.json with --model",
                           path);
        model = m ? name : beside;
    }
    bool named = !file_exists(model);
    int64_t V = head_rows(&w->file, n, family);
    if (config_load(&w->config, model, family, V > 0 ? V : 1, err) < 0) return -1;
    if (V < w->config.vocab_size || !(named || n == HUGGING_FACE)) return 0;
    w->config.padded_vocab_size = V;
    if (named && w->config.family == FAMILY_MDM) w->config.mask_id = V;
    return config_check(&w->config, model, err);
}

static int check_family(const struct weights *w, enum naming n, const char *path, struct err *err) {
    const struct st_tensor *wte = safetensors_find(&w->file, namings[n].embedding);
    int64_t V = w->config.padded_vocab_size, more = wte->ndim == 2 ? wte->shape[0] - V : -1;
    if ((more != 0 && more != 1) || (more == 1) == (w->config.family == FAMILY_MDM)) return 0;
    return err_set(err,
                   "%s: the embedding has %lld rows for a vocabulary of %lld, so this is a model of family %s, not %s",
                   path, (long long)wte->shape[0], (long long)V, family_names[more == 1 ? FAMILY_MDM : FAMILY_ARM],
                   family_names[w->config.family]);
}

/* ---- tensors ---- */

/* What a load carries along. */
struct load {
    struct weights *w;
    const char *path;
    enum naming naming;
    bool *used; /* per tensor of the file */
    struct err *err;
};

static void shape_text(char out[64], const int64_t *shape, int ndim) {
    int n = snprintf(out, 64, "[");
    for (int i = 0; i < ndim && n < 40; i++) n += snprintf(out + n, 64 - n, i ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(out + n, 64 - n, "]");
}

/* The tensor `name`, which must be nrows x ncols (a vector when ncols is 1) and f32 or bf16. */
static const struct st_tensor *need(struct load *l, const char *name, int64_t nrows, int64_t ncols, enum dtype *type) {
    const struct st_tensor *t = safetensors_find(&l->w->file, name);
    if (!t) {
        err_set(l->err, "%s: tensor '%s' is missing (the config says %lld layers)", l->path, name,
                (long long)l->w->config.n_layer);
        return NULL;
    }
    const int64_t want[2] = {nrows, ncols};
    int ndim = ncols == 1 ? 1 : 2;
    if (t->ndim != ndim || t->shape[0] != nrows || (ndim == 2 && t->shape[1] != ncols)) {
        char found[64], expected[64];
        shape_text(found, t->shape, t->ndim);
        shape_text(expected, want, ndim);
        err_set(l->err, "%s: tensor '%s' has shape %s, the config expects %s", l->path, name, found, expected);
        return NULL;
    }
    bool f32 = !strcmp(t->dtype, "F32");
    if (!f32 && strcmp(t->dtype, "BF16") != 0) {
        err_set(l->err, "%s: tensor '%s' has type %s, expected F32 or BF16", l->path, name, t->dtype);
        return NULL;
    }
    *type = f32 ? DTYPE_F32 : DTYPE_BF16;
    l->used[t - l->w->file.v] = true;
    return t;
}

static void *own(struct load *l, int64_t n, enum dtype type) {
    void *p = mem_alloc(n, dtype_size(type), "weights", l->err);
    if (p) l->w->owned[l->w->owned_count++] = p;
    return p;
}

static int take_plain(struct load *l, int i, const char *name) {
    const struct param *p = &l->w->params.v[i];
    struct weight *out = &l->w->v[i];
    const struct st_tensor *t = need(l, name, p->rows, p->cols, &out->type);
    if (!t) return -1;
    out->data = t->data;
    bool norm = p->cols == 1, aligned = (uintptr_t)t->data % dtype_size(out->type) == 0;
    if (aligned && (!norm || out->type == DTYPE_F32)) return 0;
    void *copy = own(l, p->rows * p->cols, out->type);
    if (!copy) return -1;
    out->data = memcpy(copy, t->data, t->bytes);
    if (!norm || out->type == DTYPE_F32) return 0;
    void *wide = own(l, p->rows, DTYPE_F32);
    if (!wide) return -1;
    ops_convert(wide, DTYPE_F32, copy, DTYPE_BF16, p->rows);
    *out = (struct weight){wide, DTYPE_F32};
    return 0;
}

/* q [H·D, E], k and v [G·D, E] → [G, H/G + 2, D, E]: each group's queries, its key, its value. */
static int take_attention(struct load *l, int i) {
    const struct config *c = &l->w->config;
    const struct param *p = &l->w->params.v[i];
    int64_t H = c->n_head, G = c->n_query_groups, D = config_head_dim(c), E = c->n_embd;
    const int64_t heads[] = {[QUERY] = H, [KEY] = G, [VALUE] = G};
    const char *from[3];
    enum dtype type[3];
    for (int k = QUERY; k <= VALUE; k++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.%s.weight", p->layer, hf_attention[k]);
        const struct st_tensor *t = need(l, name, heads[k] * D, E, &type[k]);
        if (!t) return -1;
        from[k] = t->data;
    }
    if (type[KEY] != type[QUERY] || type[VALUE] != type[QUERY])
        return err_set(l->err, "%s: layer %d: q_proj, k_proj and v_proj differ in type", l->path, p->layer);
    char *to = own(l, p->rows * p->cols, type[QUERY]);
    if (!to) return -1;
    l->w->v[i] = (struct weight){to, type[QUERY]};
    const size_t head = (size_t)(D * E) * dtype_size(type[QUERY]);
    for (int64_t g = 0; g < G; g++) {
        for (int k = QUERY; k <= VALUE; k++) {
            size_t bytes = head * (size_t)(heads[k] / G);
            memcpy(to, from[k], bytes);
            to += bytes;
            from[k] += bytes;
        }
    }
    return 0;
}

/* A file may repeat the embedding as the head; a head of its own would contradict the config. */
static int take_tied_head(struct load *l, int i) {
    struct weights *w = l->w;
    const struct param *p = &w->params.v[i];
    const char *name = namings[l->naming].head;
    const struct st_tensor *head = safetensors_find(&w->file, name);
    enum dtype type;
    w->v[i] = w->v[0];
    if (!head) return 0;
    if (!need(l, name, p->rows, p->cols, &type)) return -1;
    if (type == w->v[0].type && !memcmp(head->data, w->v[0].data, head->bytes)) return 0;
    return err_set(l->err, "%s: the config says that the head is the embedding, but %s differs from it", l->path, name);
}

static int take(struct load *l, int i) {
    const struct param *p = &l->w->params.v[i];
    char name[NAME_BYTES];
    if (p->role == PARAM_HEAD && l->w->config.tied_head) return take_tied_head(l, i);
    if (l->naming != HUGGING_FACE)
        snprintf(name, sizeof name, "%s%s", namings[l->naming].prefix, p->name);
    else if (p->role == PARAM_ATTN)
        return take_attention(l, i);
    else if (p->layer < 0)
        snprintf(name, sizeof name, "%s", hf_names[p->role]);
    else
        snprintf(name, sizeof name, "model.layers.%d.%s", p->layer, hf_names[p->role]);
    return take_plain(l, i, name);
}

/* Tensors that a whole file holds besides the weights: the optimizer's, and a constant in every layer of old files. */
static bool is_known_extra(enum naming n, const char *name) {
    if (n == CHECKPOINT) return starts_with(name, "adam_m/") || starts_with(name, "adam_v/");
    return n == HUGGING_FACE && ends_with(name, "rotary_emb.inv_freq");
}

static int take_all(struct load *l) {
    for (int i = 0; i < l->w->params.count; i++)
        if (take(l, i) < 0) return -1;
    for (int i = 0; i < l->w->file.count; i++) {
        const char *name = l->w->file.v[i].name;
        if (!l->used[i] && !is_known_extra(l->naming, name))
            return err_set(l->err, "%s: tensor '%s' has no place in the model (%lld layers; is the config right?)",
                           l->path, name, (long long)l->w->config.n_layer);
    }
    return 0;
}

static int load_tensors(struct weights *w, enum naming n, const char *path, struct err *err) {
    struct load l = {.w = w, .path = path, .naming = n, .err = err};
    int64_t count = w->params.count;
    w->v = mem_alloc(count, sizeof *w->v, "the list of weights", err);
    w->owned = mem_alloc(2 * count, sizeof *w->owned, "the list of weights", err);
    l.used = mem_alloc(w->file.count, sizeof *l.used, "the list of tensors", err);
    int status = w->v && w->owned && l.used ? take_all(&l) : -1;
    mem_free(l.used);
    return status;
}

static int load_file(struct weights *w, const char *path, const char *model, enum family family, struct err *err) {
    if (safetensors_open(&w->file, path, err) < 0) return -1;
    enum naming n = naming_of(&w->file);
    if (n == NAMINGS)
        return err_set(err, "%s: not a model of this kind: it has no tensor %s or %s", path,
                       namings[PUBLISHED].embedding, namings[HUGGING_FACE].embedding);
    if (choose_config(w, n, path, model, family, err) < 0 || check_family(w, n, path, err) < 0) return -1;
    return params_init(&w->params, &w->config, err) < 0 ? -1 : load_tensors(w, n, path, err);
}

int weights_load(struct weights *w, const char *path, const char *model, enum family family, struct err *err) {
    char file[FILE_PATH_MAX];
    *w = (struct weights){0};
    if (kernels_init(err) < 0 || weights_file(file, path, err) < 0) return -1;
    if (load_file(w, file, model, family, err) == 0) return 0;
    weights_free(w);
    return -1;
}

int weights_flat(struct weights *w, const struct config *c, float *flat, struct err *err) {
    *w = (struct weights){.config = *c, .flat = flat};
    if (params_init(&w->params, c, err) < 0) return -1;
    w->v = mem_alloc(w->params.count, sizeof *w->v, "the list of weights", err);
    if (!w->v) {
        weights_free(w);
        return -1;
    }
    for (int i = 0; i < w->params.count; i++) w->v[i] = (struct weight){flat + w->params.v[i].offset, DTYPE_F32};
    return 0;
}

void weights_free(struct weights *w) {
    for (int i = 0; i < w->owned_count; i++) mem_free(w->owned[i]);
    mem_free(w->owned);
    mem_free(w->v);
    params_free(&w->params);
    safetensors_close(&w->file);
    *w = (struct weights){0};
}

void weights_copy(const struct weights *w, float *flat) {
    for (int i = 0; i < w->params.count; i++) {
        const struct param *p = &w->params.v[i];
        ops_convert(flat + p->offset, DTYPE_F32, w->v[i].data, w->v[i].type, p->rows * p->cols);
    }
}

/* ---- writing ---- */

int weights_save(const char *path, const struct params *p, const struct config *c, const float *flat, enum dtype type,
                 struct err *err) {
    static const char *const metadata[] = {"format", "pt", NULL};
    int count = p->count - c->tied_head; /* a tied head, the last row, is not written */
    bool narrow = type == DTYPE_BF16;
    char *half = narrow ? mem_alloc(p->total, dtype_size(type), "weights in bf16", err) : NULL;
    struct st_tensor *v = mem_alloc(count, sizeof *v, "the list of weights", err);
    int status = -1;
    if (v && (half || !narrow)) {
        for (int i = 0; i < count; i++) {
            const struct param *q = &p->v[i];
            v[i] = (struct st_tensor){.name = (char *)q->name, .ndim = q->cols == 1 ? 1 : 2, .data = flat + q->offset};
            v[i].shape[0] = q->rows;
            v[i].shape[1] = q->cols;
            v[i].bytes = (size_t)(q->rows * q->cols) * dtype_size(type);
            snprintf(v[i].dtype, sizeof v[i].dtype, "%s", narrow ? "BF16" : "F32");
            if (!narrow) continue;
            v[i].data = half + (size_t)q->offset * dtype_size(type);
            ops_convert((void *)v[i].data, DTYPE_BF16, flat + q->offset, DTYPE_F32, q->rows * q->cols);
        }
        status = safetensors_write(path, v, count, metadata, err);
    }
    mem_free(v);
    mem_free(half);
    return status;
}

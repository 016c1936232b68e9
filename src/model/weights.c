/* weights: finds a model's tensors in its files, under the names of a project, and checks each against the table of
 * parameters. What a file holds in the right form is used where it is mapped; the rest is built here. No arithmetic but
 * conversion between types. */
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/ops.h"
#include "model/naming.h"

/* ---- which project's, which config ---- */

/* The tensor that a naming has for a role (of the first layer); NULL: absent. */
static const struct st_tensor *find_role(const struct weight_files *f, const struct naming *n, enum param_role role,
                                         int layer, const char *published) {
    struct param p = {.role = role, .layer = layer};
    char name[NAMING_BYTES];
    snprintf(p.name, sizeof p.name, "%s", published);
    if (!n->ours && !n->tensor[role][0]) return NULL;
    naming_tensor(name, n, &p, 0);
    return weight_files_find(f, name);
}

static const struct st_tensor *embedding(const struct weight_files *f, const struct naming *n) {
    return find_role(f, n, PARAM_WTE, -1, "transformer.wte.weight");
}

static const struct naming *naming_of(const struct weight_files *f) {
    for (int i = 0; i < namings_count; i++)
        if (embedding(f, &namings[i]) && find_role(f, &namings[i], PARAM_ATTN, 0, "transformer.h.0.attn.attn.weight"))
            return &namings[i];
    return NULL;
}

const char *weights_naming(const struct weight_files *files) {
    const struct naming *n = naming_of(files);
    return n ? n->name : NULL;
}

int weights_folder(char *out, const char *path, struct err *err) {
    if (!file_exists(path)) return err_set(err, "no such file or folder: '%s'", path);
    if (file_is_dir(path)) return file_join(out, path, "", err);
    const char *slash = strrchr(path, '/');
    if (!slash) return file_join(out, ".", "", err);
    int n = snprintf(out, FILE_PATH_MAX, "%.*s", (int)(slash - path) + 1, path);
    return n < FILE_PATH_MAX ? 0 : err_set(err, "the path '%.100s…' is too long", path);
}

static int64_t rows_of(const struct st_tensor *t) {
    return t && t->ndim == 2 ? t->shape[0] : 0;
}

/* Rows of the head; without one, of an embedding that it shares. */
static int64_t head_rows(const struct weight_files *f, const struct naming *n, int64_t behind) {
    const int64_t rows = rows_of(find_role(f, n, PARAM_HEAD, -1, "lm_head.weight"));
    return rows > 0 ? rows : rows_of(embedding(f, n)) - behind;
}

/* What a published embedding shows: a row more than the head, the mask, or as many. */
static enum family shown_family(const struct weight_files *f, const struct naming *n, int64_t V) {
    const int64_t more = rows_of(embedding(f, n)) - V;
    return !n->ours || (more != 0 && more != 1) ? FAMILY_ANY : more ? FAMILY_MDM : FAMILY_ARM;
}

const struct named_model *weights_match(const struct weight_files *files, enum family *family) {
    const struct naming *n = naming_of(files);
    if (!n || !n->ours) return NULL;
    *family = shown_family(files, n, head_rows(files, n, 0));
    const struct st_tensor *wte = embedding(files, n), *w1 = NULL, *t;
    char name[NAMING_BYTES];
    int layers = 0;
    do {
        snprintf(name, sizeof name, "transformer.h.%d.mlp.swiglu.w1.weight", layers);
        t = find_role(files, n, PARAM_W1, layers, name);
        if (layers == 0) w1 = t;
    } while (t && ++layers);
    if (*family == FAMILY_ANY || !rows_of(w1)) return NULL;
    for (int i = 0; i < named_models_count; i++) {
        const struct named_model *m = &named_models[i];
        if (m->n_layer == layers && m->n_embd == wte->shape[1] && m->intermediate_size == w1->shape[0]) return m;
    }
    return NULL;
}

/* A name, or a config.json that is not ours, does not know how far the vocabulary is padded: the head shows it. */
static int take_vocab(struct weights *w, const struct naming *n, const char *model, struct err *err) {
    struct config *c = &w->config;
    const bool behind = c->family == FAMILY_MDM && !c->mask_inside;
    const int64_t V = head_rows(&w->files, n, behind);
    if (V < c->vocab_size || (n->ours && !config_is_name(model))) return 0;
    c->padded_vocab_size = V;
    if (behind) c->mask_id = V;
    return config_check(c, model, err);
}

static int choose_config(struct weights *w, const struct naming *n, const char *path, const char *model,
                         enum family family, struct err *err) {
    char beside[FILE_PATH_MAX], folder[FILE_PATH_MAX], name[16];
    if (!model) {
        if (weights_folder(folder, path, err) < 0 || file_join(beside, folder, "config.json", err) < 0) return -1;
        enum family ignored;
        const struct named_model *m = file_exists(beside) ? NULL : weights_match(&w->files, &ignored);
        if (m) snprintf(name, sizeof name, "%d", m->name);
        if (!m && !file_exists(beside))
            return err_set(err,
                           "%s: no config.json beside it, and it is none of the named models: name one or a "
                           "config.json with --model",
                           path);
        model = m ? name : beside;
    }
    const int64_t V = head_rows(&w->files, n, 0);
    enum family guess = family != FAMILY_ANY ? family : shown_family(&w->files, n, V);
    if (guess == FAMILY_ANY) guess = FAMILY_MDM;
    if (config_load(&w->config, model, guess, V > 0 ? V : 1, err) < 0 || take_vocab(w, n, model, err) < 0) return -1;
    const struct config *c = &w->config;
    if (family != FAMILY_ANY && c->family != family)
        return err_set(err, "%s says that the model is of family %s, not %s as asked", model, family_names[c->family],
                       family_names[family]);
    const enum family shown = shown_family(&w->files, n, c->padded_vocab_size);
    if (shown == FAMILY_ANY || shown == c->family || c->mask_inside) return 0;
    return err_set(err,
                   "%s: the embedding has %lld rows for a vocabulary of %lld, so this is a model of family %s, not %s",
                   path, (long long)rows_of(embedding(&w->files, n)), (long long)c->padded_vocab_size,
                   family_names[shown], family_names[c->family]);
}

/* ---- tensors ---- */

/* What a load carries along. */
struct load {
    struct weights *w;
    const char *path;
    const struct naming *naming;
    bool *used; /* per tensor of the files */
    struct err *err;
};

static void shape_text(char out[64], const int64_t *shape, int ndim) {
    int n = snprintf(out, 64, "[");
    for (int i = 0; i < ndim && n < 40; i++) n += snprintf(out + n, 64 - n, i ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(out + n, 64 - n, "]");
}

static int check_type(const struct load *l, const struct st_tensor *t, enum dtype *type) {
    static const char *const names[] = {[DTYPE_F32] = "F32", [DTYPE_BF16] = "BF16", [DTYPE_F16] = "F16"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(t->dtype, names[i]) != 0) continue;
        *type = (enum dtype)i;
        return 0;
    }
    return err_set(l->err, "%s: tensor '%s' has type %s, expected F32, BF16 or F16", l->path, t->name, t->dtype);
}

/* Piece `k` of a parameter, which must be nrows x ncols (a vector when ncols is 1). */
static const struct st_tensor *need(struct load *l, const struct param *p, int k, int64_t nrows, int64_t ncols,
                                    enum dtype *type) {
    char name[NAMING_BYTES];
    naming_tensor(name, l->naming, p, k);
    const struct st_tensor *t = weight_files_find(&l->w->files, name);
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
    if (check_type(l, t, type) < 0) return NULL;
    l->used[weight_files_number(&l->w->files, t)] = true;
    return t;
}

/* Memory that lives as long as the weights. */
static void *own(struct load *l, int64_t n, enum dtype type) {
    void *p = mem_alloc(n, dtype_size(type), "weights", l->err);
    if (p) l->w->owned[l->w->owned_count++] = p;
    return p;
}

/* data, which may stand anywhere, becomes parameter i in the form that the network takes. */
static int keep(struct load *l, int i, const void *data, enum dtype type) {
    const struct param *p = &l->w->params.v[i];
    const enum dtype want = p->cols == 1 || type == DTYPE_F16 ? DTYPE_F32 : type;
    const int64_t n = p->rows * p->cols;
    l->w->v[i] = (struct weight){data, want};
    if (want == type && (uintptr_t)data % dtype_size(type) == 0) return 0;
    void *copy = own(l, n, want);
    if (!copy) return -1;
    ops_convert(copy, want, data, type, n);
    l->w->v[i].data = copy;
    return 0;
}

/* Rows [first, first + n) of the tensor as its project has it, [rows, cols], or [cols, rows] when transposed. */
static void copy_rows(char *to, const struct st_tensor *t, bool transposed, int64_t first, int64_t n, int64_t cols,
                      size_t size) {
    const char *from = t->data;
    if (transposed)
        ops_transpose(to, from + (size_t)first * size, size, n, cols, t->shape[1]);
    else
        memcpy(to, from + (size_t)(first * cols) * size, (size_t)(n * cols) * size);
}

/* q [H·D, cols], k and v [G·D, cols], in three tensors or behind one another in one → [G, H/G + 2, D, cols]: each group's
 * queries, its key, its value. */
static void build_attention(const struct load *l, const struct param *p, const struct st_tensor *const t[3],
                            bool transposed, char *to, size_t size) {
    const struct config *c = &l->w->config;
    const int64_t H = c->n_head, G = c->n_query_groups, D = config_head_dim(c);
    const int64_t heads[3] = {H, G, G}, before[3] = {0, H, H + G};
    for (int64_t g = 0; g < G; g++)
        for (int k = 0; k < 3; k++) {
            const int64_t n = heads[k] / G * D, first = g * n + (t[1] ? 0 : before[k] * D);
            copy_rows(to, t[1] ? t[k] : t[0], transposed, first, n, p->cols, size);
            to += (size_t)(n * p->cols) * size;
        }
}

/* A parameter that the files hold in another form: in pieces, or transposed. */
static int take_built(struct load *l, int i) {
    const struct param *p = &l->w->params.v[i];
    const struct config *c = &l->w->config;
    const bool transposed = l->naming->transposed && p->cols > 1;
    const int64_t D = config_head_dim(c), rows[3] = {c->n_head * D, c->n_query_groups * D, c->n_query_groups * D};
    const struct st_tensor *t[3] = {NULL};
    const int pieces = naming_pieces(l->naming, p);
    enum dtype type[3] = {DTYPE_F32};
    for (int k = 0; k < pieces; k++) {
        const int64_t n = pieces == 1 ? p->rows : rows[k];
        t[k] = need(l, p, k, transposed ? p->cols : n, transposed ? n : p->cols, &type[k]);
        if (!t[k]) return -1;
        if (type[k] != type[0]) return err_set(l->err, "%s: the tensors of %s differ in type", l->path, p->name);
    }
    const size_t size = dtype_size(type[0]);
    char *built = own(l, p->rows * p->cols, type[0]);
    if (!built) return -1;
    if (p->role == PARAM_ATTN)
        build_attention(l, p, t, transposed, built, size);
    else
        copy_rows(built, t[0], transposed, 0, p->rows, p->cols, size);
    if (keep(l, i, built, type[0]) < 0) return -1;
    if (l->w->v[i].data == built) return 0;
    mem_free(built); /* widened: only the copy stays */
    l->w->owned[l->w->owned_count - 2] = l->w->owned[l->w->owned_count - 1];
    l->w->owned_count--;
    return 0;
}

/* A file may repeat the embedding as the head; a head of its own would contradict the config. */
static int take_tied_head(struct load *l, int i) {
    struct weights *w = l->w;
    const struct param *p = &w->params.v[i];
    const struct st_tensor *wte = embedding(&w->files, l->naming), *head;
    char name[NAMING_BYTES];
    enum dtype type;
    w->v[i] = w->v[0];
    naming_tensor(name, l->naming, p, 0);
    if (!weight_files_find(&w->files, name)) return 0;
    head = need(l, p, 0, p->rows, p->cols, &type);
    if (!head) return -1;
    if (!strcmp(head->dtype, wte->dtype) && !memcmp(head->data, wte->data, head->bytes)) return 0;
    return err_set(l->err, "%s: the config says that the head is the embedding, but %s differs from it", l->path, name);
}

static int take(struct load *l, int i) {
    const struct param *p = &l->w->params.v[i];
    if (p->role == PARAM_HEAD && l->w->config.tied_head) return take_tied_head(l, i);
    if (!l->naming->ours && !l->naming->tensor[p->role][0])
        return err_set(l->err, "%s: %s files have no %s, which the config asks for", l->path, l->naming->name, p->name);
    const bool in_layer = p->layer >= 0;
    if (!l->naming->ours && in_layer && (p->role == PARAM_ATTN || (l->naming->transposed && p->cols > 1)))
        return take_built(l, i);
    enum dtype type;
    const struct st_tensor *t = need(l, p, 0, p->rows, p->cols, &type);
    return t ? keep(l, i, t->data, type) : -1;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* Tensors that whole files hold besides the weights: a checkpoint's moments, constants in other projects' layers. */
static bool is_known_extra(const struct naming *n, const char *name) {
    for (int i = 0; i < 2; i++)
        if (n->extra[i] && ends_with(name, n->extra[i])) return true;
    return n->ours && *n->prefix && !strncmp(name, "adam_", 5);
}

static int take_all(struct load *l) {
    for (int i = 0; i < l->w->params.count; i++)
        if (take(l, i) < 0) return -1;
    for (int i = 0; i < l->w->files.tensors; i++) {
        const char *name = weight_files_tensor(&l->w->files, i)->name;
        if (!l->used[i] && !is_known_extra(l->naming, name))
            return err_set(l->err, "%s: tensor '%s' has no place in the model (%lld layers; is the config right?)",
                           l->path, name, (long long)l->w->config.n_layer);
    }
    return 0;
}

static int load_tensors(struct weights *w, const struct naming *n, const char *path, struct err *err) {
    struct load l = {.w = w, .path = path, .naming = n, .err = err};
    int64_t count = w->params.count;
    w->v = mem_alloc(count, sizeof *w->v, "the list of weights", err);
    w->owned = mem_alloc(2 * count, sizeof *w->owned, "the list of weights", err);
    l.used = mem_alloc(w->files.tensors, sizeof *l.used, "the list of tensors", err);
    int status = w->v && w->owned && l.used ? take_all(&l) : -1;
    mem_free(l.used);
    return status;
}

static int load(struct weights *w, const char *path, const char *model, enum family family, struct err *err) {
    if (kernels_init(err) < 0 || weight_files_open(&w->files, path, err) < 0) return -1;
    const struct naming *n = naming_of(&w->files);
    if (!n) {
        char known[128] = "";
        for (int i = 0; i < namings_count; i++) {
            const size_t at = strlen(known);
            if (!strstr(known, namings[i].name))
                snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", namings[i].name);
        }
        return err_set(err, "%s: not a model of this kind: its tensors have none of the known names (%s)", path, known);
    }
    if (choose_config(w, n, path, model, family, err) < 0) return -1;
    return params_init(&w->params, &w->config, err) < 0 ? -1 : load_tensors(w, n, path, err);
}

int weights_load(struct weights *w, const char *path, const char *model, enum family family, struct err *err) {
    *w = (struct weights){0};
    if (load(w, path, model, family, err) == 0) return 0;
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
    for (int i = 0; i < w->params.count; i++)
        w->v[i] = (struct weight){flat ? flat + w->params.v[i].offset : NULL, DTYPE_F32};
    return 0;
}

void weights_free(struct weights *w) {
    for (int i = 0; i < w->owned_count; i++) mem_free(w->owned[i]);
    mem_free(w->owned);
    mem_free(w->v);
    params_free(&w->params);
    weight_files_close(&w->files);
    *w = (struct weights){0};
}

void weights_copy_range(const struct weights *w, float *out, int64_t first, int64_t end) {
    for (int i = 0; i < w->params.count; i++) {
        const struct param *p = &w->params.v[i];
        const int64_t n = p->rows * p->cols, from = first > p->offset ? first - p->offset : 0,
                      to = end - p->offset < n ? end - p->offset : n;
        if (from >= to) continue;
        const char *data = (const char *)w->v[i].data + from * (int64_t)dtype_size(w->v[i].type);
        ops_convert(out + (p->offset + from - first), DTYPE_F32, data, w->v[i].type, to - from);
    }
}

/* sharded: see sharded.h. */
#include "train/sharded.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "comm/comm.h"
#include "compute/ops.h"

/* ---- what an image is made of ---- */

static enum dtype matrix_type(int part, enum dtype t) {
    return part == 0 ? DTYPE_F32 : t; /* rows of the embedding are read as they are */
}

static bool is_tied(const struct weights *w, int row) {
    return w->config.tied_head && w->params.v[row].role == PARAM_HEAD;
}

void sharded_types(struct weights *w, enum dtype t) {
    for (int i = 0; i < w->params.count; i++) {
        const struct param *q = &w->params.v[i];
        w->v[i].type = q->cols == 1 || is_tied(w, i) ? DTYPE_F32 : matrix_type(q->part, t);
    }
}

/* Elements of a part's vectors that stand before `end` of the flat buffer. */
static int64_t vectors_before(const struct params *p, int part, int64_t end) {
    const struct param_part of = params_part(p, part);
    int64_t n = 0;
    for (int i = of.first; i < of.first + of.count; i++) {
        const struct param *q = &p->v[i];
        if (q->cols == 1 && end > q->offset) n += end - q->offset < q->rows ? end - q->offset : q->rows;
    }
    return n;
}

static int64_t matrices_bytes(const struct params *p, int part, enum dtype t) {
    return params_part(p, part).floats * (int64_t)dtype_size(matrix_type(part, t));
}

/* Where an image has them apart. */
static int64_t vectors_of(const struct params *p, int part, enum dtype t) {
    return matrix_type(part, t) == DTYPE_F32 ? 0 : vectors_before(p, part, p->total);
}

/* The most that any part needs. */
static void largest(const struct params *p, enum dtype t, int64_t *bytes, int64_t *vectors, int64_t *floats,
                    int64_t *rows) {
    *bytes = *vectors = *floats = *rows = 0;
    for (int part = 0; part < params_parts(p); part++) {
        const struct param_part of = params_part(p, part);
        if (matrices_bytes(p, part, t) > *bytes) *bytes = matrices_bytes(p, part, t);
        if (vectors_of(p, part, t) > *vectors) *vectors = vectors_of(p, part, t);
        if (of.floats > *floats) *floats = of.floats;
        if (of.count > *rows) *rows = of.count;
    }
}

/* A tied head needs the embedding beside its own part, and the place of its gradient until the pass ends. */
int sharded_places(bool tied) {
    return tied ? 3 : 2;
}

static enum dtype type_of(const struct weights *w) {
    return w->v[params_index(&w->params, PARAM_ATTN, 0)].type;
}

int64_t sharded_bytes(const struct weights *w, enum shard shard) {
    const enum dtype t = type_of(w);
    int64_t bytes, vectors, floats, rows, n = 0;
    if (shard == SHARD_NONE) return 0;
    largest(&w->params, t, &bytes, &vectors, &floats, &rows);
    if (shard == SHARD_FULL) return sharded_places(w->config.tied_head) * (bytes + 4 * vectors + 4 * floats);
    for (int part = 0; part < params_parts(&w->params); part++)
        n += matrices_bytes(&w->params, part, t) + 4 * vectors_of(&w->params, part, t);
    return n;
}

/* ---- gathering ---- */

/* Elements of vectors that this rank has in its charge, behind those of the ranks before it. */
static void own_vectors(const struct sharded *s, int part, float *vectors) {
    const struct params *p = s->shards->params;
    const struct param_part of = params_part(p, part);
    const int64_t *slices = shards_slices(s->shards, part), first = slices[s->shards->me],
                  end = slices[s->shards->me + 1];
    float *to = vectors + vectors_before(p, part, first);
    for (int i = of.first; i < of.first + of.count; i++) {
        const struct param *q = &p->v[i];
        const int64_t a = q->offset > first ? q->offset : first,
                      b = q->offset + q->rows < end ? q->offset + q->rows : end;
        if (q->cols != 1 || a >= b) continue;
        memcpy(to, s->kept + s->shards->at[part] + (a - first), (size_t)(b - a) * sizeof *to);
        to += b - a;
    }
}

/* Rounded by whoever has it: all see the same weights, those that one process would multiply. */
static void gather(const struct sharded *s, int part, struct sharded_image *m) {
    const struct shards *h = s->shards;
    const struct params *p = h->params;
    const int64_t *slices = shards_slices(h, part), offset = params_part(p, part).offset;
    const enum dtype t = matrix_type(part, s->t);
    const int64_t size = (int64_t)dtype_size(t);
    int64_t first[COMM_RANKS + 1];
    ops_convert((char *)m->matrices + (slices[h->me] - offset) * size, t, s->kept + h->at[part], DTYPE_F32,
                slices[h->me + 1] - slices[h->me]);
    for (int r = 0; r <= h->ranks; r++) first[r] = (slices[r] - offset) * size;
    comm_gather(m->matrices, first);
    if (t == DTYPE_F32) return;
    own_vectors(s, part, m->vectors);
    for (int r = 0; r <= h->ranks; r++) first[r] = vectors_before(p, part, slices[r]) * (int64_t)sizeof *m->vectors;
    comm_gather(m->vectors, first);
}

static void gather_job(void *context, int part, void *image) {
    gather(context, part, image);
}

/* Where the rows of an image's part are. head: data of a tied one. */
static void set_rows(const struct sharded *s, const struct sharded_image *m, struct weight *row, const void *head) {
    const struct params *p = s->shards->params;
    const struct param_part of = params_part(p, m->part);
    const int64_t size = (int64_t)dtype_size(matrix_type(m->part, s->t));
    for (int k = 0; k < of.count; k++) {
        const struct param *q = &p->v[of.first + k];
        row[k].type = s->weights->v[of.first + k].type;
        if (is_tied(s->weights, of.first + k))
            row[k].data = head;
        else if (q->cols == 1 && size < (int64_t)sizeof(float))
            row[k].data = m->vectors + vectors_before(p, m->part, q->offset);
        else
            row[k].data = (const char *)m->matrices + (q->offset - of.offset) * size;
    }
}

/* ---- coming and going ---- */

static struct sharded_image *find(const struct sharded *s, int part) {
    for (int i = 0; i < s->images; i++)
        if (s->image[i].part == part) return &s->image[i];
    return NULL;
}

/* The image of a part, on its way at least. It takes the place of the one that was not used for longest: as on every
 * other rank. NULL: all are in use. */
static struct sharded_image *fetch(struct sharded *s, int part) {
    struct sharded_image *oldest = find(s, part);
    if (oldest) return oldest;
    for (int i = 0; i < s->images; i++) {
        struct sharded_image *m = &s->image[i];
        if (m->held == 0 && (!oldest || m->used < oldest->used)) oldest = m;
    }
    if (!oldest) return NULL;
    oldest->part = part;
    oldest->used = ++s->clock;
    oldest->ticket = behind_post(s->behind, gather_job, s, part, oldest);
    return oldest;
}

static const struct weight *enter_weights(struct sharded *s, int part) {
    struct sharded_image *m = fetch(s, part);
    BUG_ON(!m);
    m->held++;
    m->used = ++s->clock;
    if (s->next < s->end && s->visit[s->next].uses & PART_WEIGHTS) fetch(s, s->visit[s->next].part);
    behind_wait(s->behind, m->ticket);
    const struct sharded_image *embedding = s->tied ? find(s, 0) : NULL;
    set_rows(s, m, m->row, embedding ? embedding->matrices : NULL);
    return m->row;
}

/* The gradient of a part. That of a tied embedding stays from the head's visit to its own. */
static float *enter_gradient(struct sharded *s, int part, bool goes_on) {
    int oldest = -1;
    for (int i = 0; i < SHARDED_PLACES; i++) {
        const bool fits = s->gradient[i].data && s->gradient[i].part == (goes_on ? part : -1);
        if (fits && (oldest < 0 || s->gradient[i].ticket < s->gradient[oldest].ticket)) oldest = i;
    }
    BUG_ON(oldest < 0);
    float *data = s->gradient[oldest].data;
    s->gradient[oldest].part = part;
    if (goes_on) return data;
    behind_wait(s->behind, s->gradient[oldest].ticket);
    ops_zero(data, params_part(s->shards->params, part).floats * (int64_t)sizeof *data);
    return data;
}

static void scatter_job(void *context, int part, void *gradient) {
    scatter_part(context, part, gradient);
}

static void leave_gradient(struct sharded *s, int part) {
    int i = 0;
    while (s->gradient[i].part != part) i++;
    s->gradient[i].part = -1;
    s->gradient[i].ticket = behind_post(s->behind, scatter_job, s->scatter, part, s->gradient[i].data);
}

/* While the network opens there is nothing to gather: it only looks at types and places. */
static void enter_dead(struct sharded *s, int part, struct resident *r) {
    s->image[0].part = part;
    set_rows(s, &s->image[0], s->image[0].row, s->image[1].matrices);
    *r = (struct resident){s->image[0].row, NULL};
    s->image[0].part = -1;
}

static void enter(void *context, int part, int uses, struct resident *r) {
    struct sharded *s = context;
    if (!s->live) {
        enter_dead(s, part, r);
        return;
    }
    BUG_ON(s->next == s->end || s->visit[s->next].part != part || s->visit[s->next].uses != uses);
    s->next++;
    *r = (struct resident){0};
    if (uses & PART_WEIGHTS) r->weights = enter_weights(s, part);
    if (uses & PART_GRADIENT) r->gradient = enter_gradient(s, part, s->tied && part == 0 && !(uses & PART_WEIGHTS));
}

static void leave(void *context, int part, int uses) {
    struct sharded *s = context;
    if (!s->live) return;
    if (uses & PART_WEIGHTS) find(s, part)->held--;
    if (uses & PART_GRADIENT && !(s->tied && part == 0 && uses & PART_WEIGHTS)) leave_gradient(s, part);
}

const struct residency *sharded_residency(const struct sharded *s) {
    return s->full ? &s->residency : NULL;
}

void sharded_start(struct sharded *s, bool training) {
    s->live = s->full;
    s->next = training ? 0 : s->training_visits;
    s->end = training ? s->training_visits : s->visits;
}

void sharded_finish(struct sharded *s) {
    if (!s->live) return;
    const int head = s->shards->parts - 1;
    struct resident r;
    while (s->next < s->end) {
        const int part = s->visit[s->next].part, uses = s->visit[s->next].uses;
        const bool both = s->tied && part == 0 && s->next + 1 < s->end && s->visit[s->next + 1].part == head;
        enter(s, part, uses, &r);
        if (both) enter(s, head, uses, &r);
        if (both) leave(s, head, uses);
        leave(s, part, uses);
    }
    behind_settle(s->behind);
    s->live = false;
}

void sharded_refresh(struct sharded *s) {
    for (int i = 0; i < s->images; i++)
        if (s->full)
            s->image[i].part = -1;
        else
            gather(s, i, &s->image[i]);
}

void sharded_seconds(const struct sharded *s, double *busy, double *waited) {
    *busy = *waited = 0;
    if (s->behind) behind_seconds(s->behind, busy, waited);
}

/* ---- opening ---- */

/* The head, which is entered together with the embedding where it is that. */
static int visit_head(struct sharded_visit *v, int n, int head, bool tied, int uses) {
    if (tied) v[n++] = (struct sharded_visit){0, uses};
    v[n++] = (struct sharded_visit){head, uses};
    return n;
}

/* As residency.h says. */
int sharded_visits(struct sharded_visit *v, int parts, bool tied) {
    const int head = parts - 1, both = PART_WEIGHTS | PART_GRADIENT;
    int n = 0;
    for (int part = 0; part < head; part++) v[n++] = (struct sharded_visit){part, PART_WEIGHTS};
    n = visit_head(v, n, head, tied, both);
    for (int part = head - 1; part > 0; part--) v[n++] = (struct sharded_visit){part, both};
    v[n++] = (struct sharded_visit){0, PART_GRADIENT};
    return n;
}

/* Other passes are transformer_body() and transformer_row_losses(). */
static void plan_visits(struct sharded *s) {
    const int head = s->shards->parts - 1;
    s->visits = s->training_visits = sharded_visits(s->visit, s->shards->parts, s->tied);
    for (int part = 0; part < head; part++) s->visit[s->visits++] = (struct sharded_visit){part, PART_WEIGHTS};
    for (int times = 0; times < 2; times++) s->visits = visit_head(s->visit, s->visits, head, s->tied, PART_WEIGHTS);
}

static int open_image(struct sharded_image *m, int64_t bytes, int64_t vectors, int64_t rows, struct err *err) {
    *m = (struct sharded_image){.part = -1};
    m->matrices = mem_alloc(bytes, 1, "weights of a part", err);
    m->vectors = mem_alloc(vectors, sizeof *m->vectors, "weights of a part", err);
    m->row = mem_alloc(rows, sizeof *m->row, "weights of a part", err);
    return m->matrices && m->vectors && m->row ? 0 : -1;
}

static int open_full(struct sharded *s, struct err *err) {
    const struct params *p = s->shards->params;
    int64_t bytes, vectors, floats, rows;
    largest(p, s->t, &bytes, &vectors, &floats, &rows);
    s->behind = behind_open(err);
    s->visit = mem_alloc(4 * s->shards->parts + 8, sizeof *s->visit, "the list of parts", err);
    if (!s->behind || !s->visit) return -1;
    plan_visits(s);
    for (int i = 0; i < s->images; i++) {
        if (open_image(&s->image[i], bytes, vectors, rows, err) < 0) return -1;
        s->gradient[i].data = mem_alloc(floats, sizeof(float), "gradient of a part", err);
        if (!s->gradient[i].data) return -1;
    }
    return 0;
}

static int open_all(struct sharded *s, struct err *err) {
    const struct params *p = s->shards->params;
    for (int part = 0; part < s->images; part++) {
        struct sharded_image *m = &s->image[part];
        const struct param_part of = params_part(p, part);
        if (open_image(m, matrices_bytes(p, part, s->t), vectors_of(p, part, s->t), of.count, err) < 0) return -1;
        m->part = part;
        set_rows(s, m, s->weights->v + of.first, s->image[0].matrices);
    }
    return 0;
}

int sharded_open(struct sharded *s, const struct shards *shards, struct weights *w, const float *kept,
                 struct scatter *scatter, enum shard shard, enum dtype t, struct err *err) {
    *s = (struct sharded){.shards = shards,
                          .weights = w,
                          .scatter = scatter,
                          .kept = kept,
                          .t = t,
                          .full = shard == SHARD_FULL,
                          .tied = w->config.tied_head};
    if (shard == SHARD_NONE) return 0;
    s->residency = (struct residency){s, enter, leave};
    s->images = s->full ? sharded_places(s->tied) : shards->parts;
    for (int i = 0; i < SHARDED_PLACES; i++) s->gradient[i].part = -1;
    s->image = mem_alloc(s->images, sizeof *s->image, "the list of parts", err);
    if (!s->image) return -1;
    return s->full ? open_full(s, err) : open_all(s, err);
}

void sharded_close(struct sharded *s) {
    behind_close(s->behind);
    for (int i = 0; s->image && i < s->images; i++) {
        mem_free(s->image[i].matrices);
        mem_free(s->image[i].vectors);
        mem_free(s->image[i].row);
    }
    for (int i = 0; i < SHARDED_PLACES; i++) mem_free(s->gradient[i].data);
    mem_free(s->image);
    mem_free(s->visit);
    *s = (struct sharded){0};
}

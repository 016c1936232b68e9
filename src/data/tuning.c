/* tuning: pieces of text to ids, once, at the start; examples are places in one array of ids. */
#include "data/tuning.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/stop.h"
#include "text/prompt.h"

struct place { /* of an example: its ids are [start, start + n) */
    int64_t start, record;
    int32_t n, prompt;
};

struct tuning {
    struct tuning_settings s;
    int32_t mark; /* prompt_mark() of the template's answers */
    struct ids ids;
    struct place *places;
    int64_t n, capacity;
    struct tuning_counts counts;
};

/* ---- a record ---- */

static int encode_piece(struct tuning *t, const struct chat *c, const struct chat_piece *p, struct err *err) {
    const bool begin = t->s.begin == BEGIN_PIECES || (t->s.begin == BEGIN_RECORD && p == c->pieces);
    const char *text = c->text.v ? c->text.v + p->start : "";
    if ((begin ? prompt_encode : tokenizer_encode)(t->s.tokenizer, text, p->n, &t->ids, err) < 0) return -1;
    const int32_t end = tokenizer_eos(t->s.tokenizer);
    return p->end && t->mark != end ? ids_push(&t->ids, end, err) : 0;
}

static enum tuning_found bad(const struct tuning_file *f, const char *why, struct err *err) {
    err_set(err, "%s: %s", tuning_file_where(f), why);
    return TUNING_BAD;
}

/* Examples of the record that was just read. */
static enum tuning_found add_pieces(struct tuning *t, const struct tuning_file *f, const struct chat *c,
                                    struct err *err) {
    const int64_t start = t->ids.n, before = t->n;
    for (int64_t i = 0; i < c->n; i++) {
        const int64_t prompt = t->ids.n - start;
        if (encode_piece(t, c, &c->pieces[i], err) < 0) return TUNING_BROKEN;
        const int64_t n = t->ids.n - start;
        for (int64_t k = prompt; k < n && t->s.mask >= 0; k++)
            if (t->ids.v[start + k] == t->s.mask)
                return bad(f, "the text has the mask token, which stands for what is to be predicted", err);
        if (!c->pieces[i].answer) continue;
        if (n > t->s.length) {
            t->counts.too_long++;
            if (t->s.whole) t->n = before;
            break;
        }
        if (n <= (prompt > t->s.causal ? prompt : t->s.causal)) return bad(f, "expected an answer, found none", err);
        if (mem_grow(&t->places, &t->capacity, t->n + 1, sizeof *t->places, "examples", err) < 0) return TUNING_BROKEN;
        t->places[t->n++] = (struct place){start, t->counts.records, (int32_t)n, (int32_t)prompt};
    }
    t->ids.n = t->n > before ? start + t->places[t->n - 1].n : start;
    return TUNING_PIECES;
}

/* One record of the file: 1, 0 at the end, -1. */
static int next_record(struct tuning *t, struct tuning_file *f, struct chat *pieces, struct err *err) {
    const int64_t ids = t->ids.n, n = t->n;
    enum tuning_found k = tuning_file_next(f, pieces, err);
    if (k == TUNING_PIECES) k = add_pieces(t, f, pieces, err);
    if (k == TUNING_END) return 0;
    if (k == TUNING_BROKEN || (k == TUNING_BAD && !t->s.keep_going)) return -1;
    if (k == TUNING_BAD) {
        t->ids.n = ids;
        t->n = n;
    }
    t->counts.bad += k == TUNING_BAD;
    t->counts.passed += k == TUNING_PASSED;
    t->counts.records++;
    return 1;
}

/* ---- the set ---- */

static int read_all(struct tuning *t, const char *path, struct err *err) {
    enum { TOLD = 5 };
    struct chat pieces = {0};
    struct progress bar;
    int k = -1, told = 0;
    struct tuning_file *f = tuning_file_open(path, &t->s.text, err);
    progress_start(&bar, "read", "records", 0, 1);
    while (f && (k = next_record(t, f, &pieces, err)) > 0) {
        if (t->counts.bad > told && told < TOLD) {
            progress_say(&bar, "%s; left out", err->msg);
            told++;
        } else if (t->counts.bad > told && told == TOLD) {
            progress_say(&bar, "%s: more bad records are only counted", path);
            told++;
        }
        progress_at(&bar, (double)t->counts.records, NULL);
        if (stop_asked()) k = err_set(err, "%s: stopped while it was read", path);
        if (k < 0) break;
    }
    tuning_file_close(f);
    chat_free(&pieces);
    const struct tuning_counts *c = &t->counts;
    if (k == 0 && t->n == 0)
        return err_set(err,
                       "%s: no example in %lld records: %lld not as the task wants them, %lld longer than %lld ids, "
                       "%lld bad",
                       path, (long long)c->records, (long long)c->passed, (long long)c->too_long,
                       (long long)t->s.length, (long long)c->bad);
    return k;
}

int tuning_open(struct tuning **out, const char *path, const struct tuning_settings *s, struct err *err) {
    struct tuning *t = *out = mem_alloc(1, sizeof *t, "fine-tuning set", err);
    if (!t) return -1;
    t->s = *s;
    const char *mark = s->text.template ? s->text.template->answer_after : "";
    int r = prompt_mark(s->tokenizer, mark, &t->mark, err) < 0 ? -1 : 0;
    if (r == 0 && tokenizer_eos(s->tokenizer) < 0)
        r = err_set(err, "%s has no end token, which ends every answer", tokenizer_path(s->tokenizer));
    if (r == 0 && read_all(t, path, err) == 0) return 0;
    tuning_close(t);
    *out = NULL;
    return -1;
}

void tuning_close(struct tuning *t) {
    if (!t) return;
    ids_free(&t->ids);
    mem_free(t->places);
    mem_free(t);
}

struct tuning_counts tuning_counts(const struct tuning *t) {
    return t->counts;
}

int64_t tuning_examples(const struct tuning *t) {
    return t->n;
}

void tuning_example(const struct tuning *t, int64_t i, int32_t *ids, struct example *e) {
    const struct place *p = &t->places[i];
    *e = (struct example){.n = t->s.fill ? t->s.length : p->n, .prompt = p->prompt};
    if (!ids) return;
    memcpy(ids, t->ids.v + p->start, (size_t)p->n * sizeof *ids);
    for (int64_t k = p->n; k < e->n; k++) ids[k] = tokenizer_eos(t->s.tokenizer);
}

/* ---- parts ---- */

int tuning_split(struct tuning_part *train, struct tuning_part *valid, const struct tuning *set, double held_out,
                 uint64_t seed, struct err *err) {
    *train = (struct tuning_part){.set = set, .shuffled = true, .seed = seed};
    *valid = (struct tuning_part){.set = set};
    train->numbers = mem_alloc(set->n, sizeof *train->numbers, "examples", err);
    valid->numbers = mem_alloc(set->n, sizeof *valid->numbers, "examples", err);
    if (!train->numbers || !valid->numbers) return -1; /* the caller frees both */
    for (int64_t i = 0; i < set->n; i++) {
        const uint64_t record = (uint64_t)set->places[i].record;
        struct tuning_part *p = rng_uniform(seed, RNG_HOLD_OUT, record, 0) < held_out ? valid : train;
        p->numbers[p->n++] = i;
    }
    return 0;
}

void tuning_part_free(struct tuning_part *p) {
    mem_free(p->numbers);
    *p = (struct tuning_part){0};
}

static int read_part(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    const struct tuning_part *p = context;
    const uint64_t pass = (uint64_t)(number / p->n);
    int64_t k = number % p->n;
    (void)err;
    if (p->shuffled) k = (int64_t)rng_permute((uint64_t)k, (uint64_t)p->n, p->seed, RNG_SHUFFLE, pass);
    tuning_example(p->set, p->numbers[k], ids, e);
    return 0;
}

static double part_epoch(const void *context, int64_t number) {
    const struct tuning_part *p = context;
    return (double)number / (double)p->n;
}

static uint64_t fingerprint(const struct tuning_part *p, const struct source *s) {
    const uint64_t order[] = {(uint64_t)s->group, p->shuffled, p->seed, p->set->s.fill, (uint64_t)p->set->s.length};
    uint64_t h = hash_add(HASH_START, order, sizeof order);
    h = hash_add(h, &s->pad, sizeof s->pad);
    for (int64_t i = 0; i < p->n; i++) {
        const struct place *e = &p->set->places[p->numbers[i]];
        const int32_t lengths[] = {e->n, e->prompt};
        h = hash_add(h, lengths, sizeof lengths);
        h = hash_add(h, p->set->ids.v + e->start, (size_t)e->n * sizeof *p->set->ids.v);
    }
    return hash_finish(h);
}

struct source tuning_source(struct tuning_part *p, int64_t group) {
    BUG_ON(p->n < 1);
    struct source s = {.context = p,
                       .read = read_part,
                       .epoch = part_epoch,
                       .size = p->n,
                       .group = group,
                       .pad = tokenizer_eos(p->set->s.tokenizer)};
    for (int64_t i = 0; i < p->n; i++) {
        struct example e;
        tuning_example(p->set, p->numbers[i], NULL, &e);
        if (e.n > s.longest) s.longest = e.n;
    }
    s.fingerprint = fingerprint(p, &s);
    return s;
}

/* cmd_score: options of `mdm score`; JSON lines in, JSON lines out, in order. What has been asked is answered as soon as
 * the input pauses, so that another program can hold a conversation. The numbers are infer/likelihood's. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/records.h"
#include "cmd/cmd.h"
#include "cmd/lm_options.h"
#include "infer/engine.h"
#include "infer/likelihood.h"
#include "text/prompt.h"
#include "text/utf8.h"

enum { GROUP = 256 }; /* most items scored together */

struct score_args {
    struct lm_args model;
    int64_t mc, batch, pad, seed;
    double cfg;
    int likelihood;
    bool greedy, keep_going;
};

struct question { /* one line; owns its ids */
    struct ids prefix, target;
};

struct score_job {
    const struct score_args *a;
    struct lm *model;
    struct engine engine;
    struct likelihood_settings settings;
    struct question *questions;    /* [GROUP] */
    struct likelihood_item *items; /* [GROUP] */
    struct likelihood_result *results;
    int64_t done, bad; /* items; those of them that had an error */
    struct progress progress;
};

static int push_ids(struct ids *out, const json_t *o, const char *key, int64_t limit, const char *where,
                    struct err *err) {
    int32_t *ids;
    int64_t n;
    if (json_get_ids(o, key, &ids, &n, limit, true, where, err) < 0) return -1;
    int status = 0;
    for (int64_t i = 0; i < n && status == 0; i++) status = ids_push(out, ids[i], err);
    mem_free(ids);
    return status;
}

static int read_question(const struct score_job *j, const json_t *o, const char *where, struct question *q,
                         struct err *err) {
    const int64_t limit = j->engine.id_end;
    const char *context, *continuation;
    if (!json_is_object(o)) return err_set(err, "%s: expected an object", where);
    const bool as_ids = json_object_get(o, "prefix") || json_object_get(o, "target");
    const bool as_text = json_object_get(o, "context") || json_object_get(o, "continuation");
    if (as_ids && as_text)
        return err_set(err, "%s: both ids (\"prefix\", \"target\") and text (\"context\", \"continuation\"): give one",
                       where);
    if (as_ids) {
        if (push_ids(&q->prefix, o, "prefix", limit, where, err) < 0) return -1;
        return push_ids(&q->target, o, "target", limit, where, err);
    }
    if (!as_text)
        return err_set(err, "%s: expected \"prefix\" and \"target\" (ids) or \"context\" and \"continuation\" (text)",
                       where);
    if (json_get_str(o, "context", &context, true, where, err) < 0) return -1;
    if (json_get_str(o, "continuation", &continuation, true, where, err) < 0) return -1;
    if (!j->model->tokenizer)
        return err_set(
            err, "%s: text needs a tokenizer, and there is none beside the weights: name it with --tokenizer", where);
    if (prompt_pair(j->model->tokenizer, true, context, continuation, &q->prefix, &q->target, err) < 0)
        return err_prefix(err, "%s", where);
    return 0;
}

/* The first length is not known before the input is read, so the engine takes the model's longest. */
static int open_engine(struct score_job *j, struct err *err) {
    const struct config *c = &j->model->weights.config;
    const bool guided = j->settings.cfg > 0;
    const struct engine_settings s = {
        .precision = j->model->precision, .max_rows = engine_rows(GROUP, c->block_size, guided), .guided = guided};
    if (engine_open(&j->engine, &j->model->weights, &s, err) < 0) return -1;
    return likelihood_check(&j->engine, &j->settings, err);
}

enum { UNREADABLE = -2 };

/* Reads questions until there are GROUP of them, the input pauses or ends, one is bad (*status is -1), or the input
 * itself cannot be read. How many are good. */
static int64_t read_group(struct score_job *j, struct jsonl *in, int *status, struct err *err) {
    int64_t n = 0;
    *status = 1;
    while (n < GROUP && (n == 0 || !jsonl_waits(in))) {
        json_t *o;
        *status = jsonl_next(in, &o, err);
        if (*status < 0 && !jsonl_passable(in)) *status = UNREADABLE;
        if (*status <= 0) return n;
        struct question *q = &j->questions[n];
        q->prefix.n = q->target.n = 0;
        *status = read_question(j, o, jsonl_where(in), q, err);
        json_decref(o);
        if (*status < 0) return n;
        const struct likelihood_item item = {q->prefix.v, q->target.v, q->prefix.n, q->target.n,
                                             (uint64_t)(j->done + n)};
        if (likelihood_check_item(&j->engine, &j->settings, &item, err) < 0) {
            *status = err_prefix(err, "%s", jsonl_where(in));
            return n;
        }
        *status = 1;
        j->items[n++] = item;
    }
    return n;
}

/* JSON has no NaN and no infinity: null stands for them. */
static int print_results(const struct score_job *j, int64_t n, struct err *err) {
    const bool greedy = j->settings.greedy || j->model->weights.config.family == FAMILY_ARM;
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(j->results[i].nll))
            printf("{\"nll\": %.17g", j->results[i].nll);
        else
            printf("{\"nll\": null");
        printf(", \"tokens\": %" PRId64, j->items[i].ntarget);
        if (greedy) printf(", \"is_greedy\": %s", j->results[i].is_greedy ? "true" : "false");
        printf("}\n");
    }
    return cmd_flush(err);
}

/* An object in place of an answer. */
static int print_error(const char *message, struct err *err) {
    struct bytes text = {0};
    char *line = NULL;
    if (utf8_clean(&text, message, (int64_t)strlen(message), err) < 0) return -1;
    json_t *o = json_pack("{s:s#}", "error", text.v, (int)text.n);
    if (o) line = json_dumps(o, 0);
    if (line) puts(line);
    const int status = line ? cmd_flush(err) : err_set(err, "out of memory for a line of JSON");
    free(line);
    json_decref(o);
    bytes_free(&text);
    return status;
}

static void show_progress(void *ctx, int64_t items) {
    struct score_job *j = ctx;
    progress_at(&j->progress, (double)(j->done + items), NULL);
}

static int score(struct score_job *j, struct jsonl *in, struct err *err) {
    for (;;) {
        int read;
        const int64_t n = read_group(j, in, &read, err);
        const struct err why = *err;
        if (likelihood(&j->engine, &j->settings, j->items, n, j->results, err) < 0 || print_results(j, n, err) < 0)
            return -1;
        j->done += n;
        if (read < 0) {
            *err = why;
            if (!j->a->keep_going || read == UNREADABLE) return -1;
            if (print_error(why.msg, err) < 0) return -1;
            j->done++;
            j->bad++;
        }
        progress_at(&j->progress, (double)j->done, NULL);
        if (read == 0) return 0;
    }
}

/* Lines of a file, for the progress; 0: unknown, as of a pipe, which can be read once only. What is wrong with it will
 * be found when it is read. */
static double count_lines(const char *path) {
    struct err ignored;
    struct record line;
    double lines = 0;
    if (!strcmp(path, "-") || file_size(path, &ignored) < 0) return 0;
    struct records *r = records_open(path, &ignored);
    if (!r) return 0;
    records_cut(r, RECORDS_LINES, NULL);
    while (records_next(r, &line, &ignored) > 0) lines++;
    records_close(r);
    return lines;
}

static int work(struct score_job *j, const struct opt_given *given, const char *path, struct err *err) {
    static const char *const mdm_only[] = {"likelihood", "mc", "batch", "cfg", "pad", NULL};
    static const char *const none[] = {NULL}, *const mc_only[] = {"mc", "batch", NULL};
    const struct config *c = &j->model->weights.config;
    if (lm_options_unused(given, c->family == FAMILY_MDM ? none : mdm_only, c, err) < 0) return -1;
    for (int i = 0; j->settings.method == LIKELIHOOD_CHAIN && mc_only[i]; i++)
        if (opt_given(given, mc_only[i]))
            return err_set(err, "--%s is for --likelihood mc; the chain rule draws nothing", mc_only[i]);
    if (j->a->pad > c->block_size)
        return err_set(err, "--pad %" PRId64 ": the model's longest sequence (block_size) is %" PRId64, j->a->pad,
                       c->block_size);
    if (open_engine(j, err) < 0) return -1;
    j->questions = mem_alloc(GROUP, sizeof *j->questions, "questions", err);
    j->items = mem_alloc(GROUP, sizeof *j->items, "questions", err);
    j->results = mem_alloc(GROUP, sizeof *j->results, "questions", err);
    if (!j->questions || !j->items || !j->results) return -1;
    struct jsonl *in = jsonl_open(path, err);
    if (!in) return -1;
    progress_start(&j->progress, "score", "items", count_lines(path), 1);
    const int status = score(j, in, err);
    jsonl_close(in);
    if (status < 0) return -1;
    progress_end(&j->progress, (double)j->done, NULL);
    char errors[64] = "";
    if (j->bad > 0) snprintf(errors, sizeof errors, ", %" PRId64 " of them with an error", j->bad);
    progress_say(NULL, "%" PRId64 " item%s%s in %.3f s, %" PRId64 " forward%s", j->done, plural(j->done), errors,
                 clock_seconds() - j->progress.started, j->engine.forwards, plural(j->engine.forwards));
    return 0;
}

static int run(int argc, char **argv) {
    struct err err = {0};
    struct score_args a = {.model = LM_ARGS, .mc = 1024, .batch = 16};
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"likelihood", OPT_CHOICE, &a.likelihood, likelihood_methods,
         "Monte Carlo, or the chain rule token by token (mdm)"},
        {"mc", OPT_INT, &a.mc, "N", "Monte Carlo draws, a multiple of --batch (mdm)", .min = 1, .max = 1e7},
        {"batch", OPT_INT, &a.batch, "N", "draws that share one stratified time (mdm)", .min = 1, .max = 1e7},
        {"cfg", OPT_REAL, &a.cfg, "W", "strength of guidance towards the prefix (mdm)", .max = 1e6},
        {"greedy", OPT_FLAG, &a.greedy, NULL,
         "also tell whether greedy decoding writes the target (mdm; always told for arm)"},
        {"pad", OPT_INT, &a.pad, "N", "extend every sequence with masks to this length (mdm)", .max = 1e9},
        {"seed", OPT_INT, &a.seed, "N", "the draws are a function of it and of the question's number", .max = 0x1p53},
        {"keep-going", OPT_FLAG, &a.keep_going, NULL,
         "answer a bad line with {\"error\": \"...\"} and go on; else it ends the command"},
        {0}};
    struct opt_given given;
    int noperands, status;
    if (!cmd_options(&cmd_score, opts, argc, argv, &noperands, &given, &status)) return status;
    if (noperands > 1) {
        err_set(&err, "expected one file, found %d", noperands);
        return cmd_fail("score", &err);
    }
    struct lm model;
    if (lm_open(&model, &a.model, false, &err) < 0) return cmd_fail("score", &err);
    struct score_job j = {.a = &a, .model = &model};
    j.settings = (struct likelihood_settings){.method = (enum likelihood_method)a.likelihood,
                                              .mc_draws = a.mc,
                                              .mc_batch = a.batch,
                                              .cfg = a.cfg,
                                              .greedy = a.greedy,
                                              .pad = a.pad,
                                              .seed = (uint64_t)a.seed,
                                              .progress = show_progress,
                                              .ctx = &j};
    status = work(&j, &given, noperands ? argv[1] : "-", &err) < 0 ? cmd_fail("score", &err) : 0;
    for (int64_t i = 0; j.questions && i < GROUP; i++) {
        ids_free(&j.questions[i].prefix);
        ids_free(&j.questions[i].target);
    }
    mem_free(j.questions);
    mem_free(j.items);
    mem_free(j.results);
    engine_close(&j.engine);
    lm_close(&model);
    return status;
}

const struct command cmd_score = {
    "score",
    "likelihood of targets after prefixes, one JSON line each",
    "[FILE]",
    "echo '{\"context\": \"The sky is\", \"continuation\": \" blue\"}' | mdm score --weights run\n"
    "mdm score --weights run --likelihood chain --greedy questions.jsonl",
    run,
    .details =
        "Reads JSON lines from FILE or standard input, each with \"context\" and \"continuation\" (texts) or\n"
        "\"prefix\" and \"target\" (lists of token ids). Writes one for each, in order, as soon as the input pauses:\n"
        "\"nll\" (in nats; null: not a number), \"tokens\" (of the target) and, where it is told, \"is_greedy\"."};

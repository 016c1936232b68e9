/* judge: which judgments are wanted, which are there, and how an answer becomes a line. Asking is chatapi's. */
#include "eval/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/journal.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/progress.h"

struct judge_job { /* one request */
    struct mt_case c;
    int game; /* 0; of a pair 0, 1: whose answer comes first */
};

struct judging {
    const struct mtbench *b;
    const struct judge_settings *s;
    struct judge_result *result;
    struct judge_job *jobs;
    int64_t n, capacity;
    json_t *there;  /* key → what the judge was asked in games 0 and 1, null: not told; of judgments in the file */
    json_t *halves; /* key → lines of games 0 and 1, null: none; of pairs that are not in the file yet */
    struct journal file, half;
    struct progress progress;
    int64_t done;
};

/* ---- keys ---- */

/* What makes a judgment the same: its question, turn and models. NULL: no memory. Caller free()s. */
static char *key_of(const json_t *id, int turn, const char *model, const char *other) {
    json_t *v = json_pack("[O, i, s, s]", (json_t *)(uintptr_t)id, turn, model, other ? other : "");
    char *key = v ? json_dumps(v, JSON_COMPACT) : NULL;
    json_decref(v);
    return key;
}

static char *case_key(const struct judging *j, const struct mt_case *c) {
    const char *other = c->model[1] >= 0 ? j->b->models[c->model[1]].name : NULL;
    return key_of(j->b->questions[c->question].id, c->turn, j->b->models[c->model[0]].name, other);
}

/* Takes the key, shares the line. Halves of a pair that is in the file are of no more use. */
static int remember_half(struct judging *j, char *key, int game, const json_t *line, struct err *err) {
    int r = key ? 0 : -1;
    if (r == 0 && !json_object_get(j->there, key)) {
        if (!json_object_get(j->halves, key)) r = json_object_set_new(j->halves, key, json_pack("[n, n]"));
        if (r == 0) r = json_array_set(json_object_get(j->halves, key), (size_t)game, (json_t *)(uintptr_t)line);
    }
    free(key);
    return r < 0 ? err_set(err, "out of memory: judgments") : 0;
}

/* ---- what is there ---- */

/* One line of either file; `half`: of the file of halves. */
static int read_line(struct judging *j, const json_t *o, bool half, const char *where, struct err *err) {
    const json_t *id;
    const bool pair = j->s->mode != JUDGE_SINGLE;
    const char *model, *other = NULL, *text = NULL,
                       *judge = json_string_value(json_array_get(json_object_get(o, "judge"), 0));
    int64_t turn, game = 0;
    if (!json_is_object(o)) return err_set(err, "%s: expected an object", where);
    if (judge && strcmp(judge, j->s->api.model) != 0)
        return err_set(err,
                       "%s: a judgment by '%.100s', whose file has the same name as that of '%s': use another --out",
                       where, judge, j->s->api.model);
    if (mt_question_id(o, &id, where, err) < 0 || json_get_int(o, "turn", &turn, 1, MT_TURNS, true, where, err) < 0 ||
        json_get_str(o, pair ? "model_1" : "model", &model, true, where, err) < 0 ||
        (pair && json_get_str(o, "model_2", &other, true, where, err) < 0))
        return -1;
    if (half) {
        if (json_get_int(o, "game", &game, 0, 1, true, where, err) < 0 ||
            json_get_str(o, "judgment", &text, true, where, err) < 0)
            return -1;
        return remember_half(j, key_of(id, (int)turn, model, other), (int)game, o, err);
    }
    /* models stand in the file in the order of whoever wrote it, and games with them */
    const bool swapped = pair && strcmp(model, other) > 0;
    const json_t *asked[2] = {json_object_get(o, pair ? "g1_user_prompt" : "user_prompt"),
                              json_object_get(o, "g2_user_prompt")};
    char *key = key_of(id, (int)turn, swapped ? other : model, swapped ? model : other);
    const int r = key ? json_object_set_new(j->there, key, json_pack("[O?, O?]", asked[swapped], asked[!swapped])) : -1;
    free(key);
    return r < 0 ? err_set(err, "out of memory: judgments") : 0;
}

static int read_file(struct judging *j, const char *path, bool half, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    int r = in ? 0 : -1;
    while (r == 0 && (r = jsonl_next(in, &o, err)) > 0) {
        r = read_line(j, o, half, jsonl_where(in), err);
        json_decref(o);
    }
    jsonl_close(in);
    return r;
}

/* Opens (and repairs) a file of OUT and reads what it holds. */
static int open_file(struct judging *j, struct journal *file, const char *kind, bool half, struct err *err) {
    char name[256], path[FILE_PATH_MAX];
    if (snprintf(name, sizeof name, "%s_%s.jsonl", j->s->api.model, kind) >= (int)sizeof name)
        return err_set(err, "the judge's name is too long");
    for (char *c = name; *c; c++)
        if (*c == '/') *c = '_';
    if (file_join(path, j->s->out, name, err) < 0 || journal_open(file, path, err) < 0) return -1;
    j->result->cut += file->cut;
    return read_file(j, path, half, err);
}

/* ---- what is wanted ---- */

static int add_job(struct judging *j, const struct mt_case *c, int game, struct err *err) {
    if (mem_grow(&j->jobs, &j->capacity, j->n + 1, sizeof *j->jobs, "judgments", err) < 0) return -1;
    j->jobs[j->n++] = (struct judge_job){*c, game};
    return 0;
}

/* The case as its game shows it: the second game swaps the answers. */
static struct mt_case shown(const struct mt_case *c, int game) {
    struct mt_case s = *c;
    if (game == 1) {
        s.model[0] = c->model[1];
        s.model[1] = c->model[0];
    }
    return s;
}

/* The line of half a pair; NULL: none. */
static const json_t *half_of(const struct judging *j, const struct mt_case *c, int game) {
    char *key = case_key(j, c);
    const json_t *line = key ? json_array_get(json_object_get(j->halves, key), (size_t)game) : NULL;
    free(key);
    return json_is_object(line) ? line : NULL;
}

static const char *half_text(const struct judging *j, const struct mt_case *c, int game) {
    return json_string_value(json_object_get(half_of(j, c, game), "judgment"));
}

/* A judgment of another answer, or by another prompt, is not the one that is wanted; a line need not tell what was asked. */
static int check_asked(const struct judging *j, const struct mt_case *c, int game, const json_t *asked,
                       const char *file, struct err *err) {
    const char *prompt, *system, *then = json_string_value(asked);
    char *now, id[64];
    const struct mt_case s = shown(c, game);
    if (!then) return 0;
    if (mtbench_ask(j->b, &s, &prompt, &system, &now, err) < 0) return -1;
    const bool same = !strcmp(then, now);
    mem_free(now);
    if (same) return 0;
    return err_set(err,
                   "%s: turn %d of question %s was judged with another answer or prompt of '%.100s' than is given now: "
                   "use another --out",
                   file, c->turn, mt_id(id, j->b->questions[c->question].id), j->b->models[c->model[0]].name);
}

static int write_pair(struct judging *j, const struct mt_case *c, struct err *err);

static int want(struct judging *j, const struct mt_case *c, struct err *err) {
    const bool pair = c->model[1] >= 0;
    char *key = case_key(j, c);
    if (!key) return err_set(err, "out of memory: judgments");
    const json_t *there = json_object_get(j->there, key);
    free(key);
    j->result->wanted++;
    j->result->there += there != NULL;
    j->result->left += !there;
    for (int game = 0; there && game <= pair; game++)
        if (check_asked(j, c, game, json_array_get(there, (size_t)game), j->file.path, err) < 0) return -1;
    if (there) return 0;
    if (!pair) return add_job(j, c, 0, err);
    int missing = 0;
    for (int game = 0; game < 2; game++) {
        const json_t *half = half_of(j, c, game);
        if (half && check_asked(j, c, game, json_object_get(half, "user_prompt"), j->half.path, err) < 0) return -1;
        if (half) continue;
        missing++;
        if (add_job(j, c, game, err) < 0) return -1;
    }
    return missing ? 0 : write_pair(j, c, err);
}

/* All turns of one model, or of two, over all questions. */
static int want_models(struct judging *j, int64_t model, int64_t other, struct err *err) {
    const bool second = j->b->models[model].second && (other < 0 || j->b->models[other].second);
    for (int turn = 1; turn <= MT_TURNS; turn++) {
        if (j->s->turn && turn != j->s->turn) continue;
        if (turn == 2 && !second) continue;
        for (int64_t q = 0; q < j->b->n; q++) {
            if (turn > j->b->questions[q].nturns) continue;
            if (want(j, &(struct mt_case){q, turn, {model, other}}, err) < 0) return -1;
        }
    }
    return 0;
}

static int want_all(struct judging *j, struct err *err) {
    const struct mtbench *b = j->b;
    int64_t baseline = -1;
    for (int64_t i = 0; i < b->nmodels; i++) {
        j->result->first_turn_only += !b->models[i].second;
        if (j->s->mode == JUDGE_BASELINE && !strcmp(b->models[i].name, j->s->baseline)) baseline = i;
    }
    if (j->s->mode != JUDGE_SINGLE && b->nmodels < 2) return err_set(err, "pairs need the answers of two models");
    if (j->s->mode == JUDGE_BASELINE && baseline < 0)
        return err_set(err, "no answers of the baseline '%s' are among the files", j->s->baseline);
    for (int64_t i = 0; i < b->nmodels; i++) {
        if (j->s->mode == JUDGE_SINGLE && want_models(j, i, -1, err) < 0) return -1;
        for (int64_t k = i + 1; j->s->mode != JUDGE_SINGLE && k < b->nmodels; k++)
            if (j->s->mode == JUDGE_PAIRS || i == baseline || k == baseline)
                if (want_models(j, i, k, err) < 0) return -1;
    }
    return 0;
}

/* ---- asking and writing ---- */

static int ask(void *context, int64_t job, const char **system, char **user, struct err *err) {
    const struct judging *j = context;
    const struct mt_case c = shown(&j->jobs[job].c, j->jobs[job].game);
    const char *prompt;
    return mtbench_ask(j->b, &c, &prompt, system, user, err);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Takes the value. */
static int add_line(struct journal *file, json_t *v, struct err *err) {
    char *line = v ? json_dumps(v, JSON_REAL_PRECISION(15)) : NULL;
    json_decref(v);
    if (!line) return err_set(err, "out of memory: a judgment");
    const int r = journal_add(file, line, (int64_t)strlen(line), err);
    free(line);
    return r;
}

static int write_single(struct judging *j, const struct mt_case *c, const char *text, struct err *err) {
    const char *prompt, *system;
    char *user;
    if (mtbench_ask(j->b, c, &prompt, &system, &user, err) < 0) return -1;
    const double score = mt_score(text);
    json_t *number = score == (double)(int64_t)score ? json_integer((int64_t)score) : json_real(score);
    json_t *v = json_pack("{s:O, s:s, s:[s, s], s:s, s:s, s:o, s:i, s:f}", "question_id",
                          (json_t *)(uintptr_t)j->b->questions[c->question].id, "model", j->b->models[c->model[0]].name,
                          "judge", j->s->api.model, prompt, "user_prompt", user, "judgment", text, "score", number,
                          "turn", c->turn, "tstamp", now());
    mem_free(user);
    return add_line(&j->file, v, err);
}

/* Who of the two won a game: its judge saw A and B. */
static const char *winner(const char *judgment, int game) {
    const char *w = mt_winner(judgment);
    if (!strcmp(w, "A")) return game ? "model_2" : "model_1";
    if (!strcmp(w, "B")) return game ? "model_1" : "model_2";
    return w;
}

/* Both judgments of a pair are among the halves. */
static int write_pair(struct judging *j, const struct mt_case *c, struct err *err) {
    const char *prompt = NULL, *system, *text[2] = {half_text(j, c, 0), half_text(j, c, 1)};
    char *user[2] = {NULL, NULL}, *key = case_key(j, c);
    int r = 0;
    for (int game = 0; game < 2 && r == 0; game++) {
        const struct mt_case s = shown(c, game);
        r = mtbench_ask(j->b, &s, &prompt, &system, &user[game], err);
    }
    if (r == 0)
        r = add_line(&j->file,
                     json_pack("{s:O, s:s, s:s, s:s, s:s, s:[s, s], s:s, s:s, s:s, s:s, s:i, s:f}", "question_id",
                               (json_t *)(uintptr_t)j->b->questions[c->question].id, "model_1",
                               j->b->models[c->model[0]].name, "model_2", j->b->models[c->model[1]].name, "g1_winner",
                               winner(text[0], 0), "g2_winner", winner(text[1], 1), "judge", j->s->api.model, prompt,
                               "g1_user_prompt", user[0], "g1_judgment", text[0], "g2_user_prompt", user[1],
                               "g2_judgment", text[1], "turn", c->turn, "tstamp", now()),
                     err);
    mem_free(user[0]);
    mem_free(user[1]);
    if (r == 0) j->result->left--;
    if (r == 0 && key) json_object_del(j->halves, key);
    free(key);
    return r;
}

static int write_half(struct judging *j, const struct judge_job *job, const char *text, struct err *err) {
    const struct mt_case *c = &job->c, s = shown(c, job->game);
    const char *prompt, *system;
    char *user;
    if (mtbench_ask(j->b, &s, &prompt, &system, &user, err) < 0) return -1;
    json_t *v = json_pack("{s:O, s:s, s:s, s:[s], s:i, s:i, s:s, s:s}", "question_id",
                          (json_t *)(uintptr_t)j->b->questions[c->question].id, "model_1",
                          j->b->models[c->model[0]].name, "model_2", j->b->models[c->model[1]].name, "judge",
                          j->s->api.model, "turn", c->turn, "game", job->game, "user_prompt", user, "judgment", text);
    mem_free(user);
    int r = add_line(&j->half, json_incref(v), err);
    if (r == 0) r = remember_half(j, case_key(j, c), job->game, v, err);
    json_decref(v);
    return r;
}

static int take(void *context, int64_t number, const char *text, struct err *err) {
    struct judging *j = context;
    const struct judge_job *job = &j->jobs[number];
    progress_at(&j->progress, (double)++j->done, NULL);
    if (job->c.model[1] < 0) {
        if (write_single(j, &job->c, text, err) < 0) return -1;
        j->result->left--;
        return 0;
    }
    if (write_half(j, job, text, err) < 0) return -1;
    return half_text(j, &job->c, !job->game) ? write_pair(j, &job->c, err) : 0;
}

/* ---- all of it ---- */

static int run(struct judging *j, struct err *err) {
    const bool pair = j->s->mode != JUDGE_SINGLE;
    j->there = json_object();
    j->halves = json_object();
    if (!j->there || !j->halves) return err_set(err, "out of memory: judgments");
    if (open_file(j, &j->file, pair ? "pair" : "single", false, err) < 0) return -1;
    snprintf(j->result->file, sizeof j->result->file, "%s", j->file.path);
    if (pair && open_file(j, &j->half, "pair.half", true, err) < 0) return -1;
    if (want_all(j, err) < 0) return -1;
    /* every question is put together on trial: one that cannot be asked is known before any is paid for */
    for (int64_t i = 0; i < j->n; i++) {
        const char *system;
        char *user;
        if (ask(j, i, &system, &user, err) < 0) return -1;
        mem_free(user);
    }
    progress_start(&j->progress, "judge", "judgments", (double)j->n, 1);
    struct chatapi_settings api = j->s->api;
    api.progress = &j->progress;
    const int r = chatapi_run(&api, j->n, ask, take, j, &j->result->api, err);
    progress_end(&j->progress, (double)j->done, NULL);
    /* halves of pairs that this run was not asked for are for the one that is */
    if (r == 0 && pair && json_object_size(j->halves) == 0) unlink(j->half.path);
    return r;
}

int judge_run(struct judge_result *result, const struct mtbench *b, const struct judge_settings *s, struct err *err) {
    *result = (struct judge_result){0};
    struct judging j = {.b = b, .s = s, .result = result};
    if (file_mkdirs(s->out, err) < 0) return -1;
    const int lock = lock_take(s->out, err);
    if (lock < 0) return -1;
    file_sweep(s->out);
    const int r = run(&j, err);
    journal_close(&j.file);
    journal_close(&j.half);
    lock_release(lock);
    json_decref(j.there);
    json_decref(j.halves);
    mem_free(j.jobs);
    return r;
}

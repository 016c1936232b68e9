/* results: the folder of an evaluation. Metrics and their standard errors are results_metrics.c's. */
#include "eval/results.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/journal.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/version.h"
#include "comm/comm.h"
#include "eval/results_chat.h"
#include "eval/results_metrics.h"
#include "eval/results_table.h"
#include "eval/task.h"

enum { JSON_BYTES = 16 << 20 };

struct results {
    char folder[FILE_PATH_MAX];
    int lock;
    /* eval.json: {"config": …, "tasks": {NAME: {"settings", "hash", "items", "sizes", "skipped", "refused", "unfinished"}}};
     * NULL: not rank 0. items: of good rows, -1 until all that is to be counted is answered; sizes: task_items_sizes(), of
     * perplexity when it is finished (older versions wrote none); skipped: bad rows and refused items; refused: items that
     * could not be asked; unfinished: the largest limit (0: none) that was wanted, until all of that is answered; older
     * versions wrote true, whatever the limit */
    json_t *eval;
    uint64_t config; /* hash of what this rank takes for config */
    uint64_t whole;  /* bits: tasks of which results_write() found all items */
    /* The task that was begun. */
    const struct task *task;
    int64_t limit;
    struct journal journal;
    struct bytes pending;      /* lines without the last line break */
    int64_t *ids, n, capacity; /* doc_ids that are there, ascending */
    bool unsorted;             /* their lines are not */
};

static int no_memory(struct err *err) {
    return err_set(err, "out of memory for results");
}

static json_t *tasks_of(const struct results *r) {
    return json_object_get(r->eval, "tasks");
}

static int write_eval(const struct results *r, struct err *err) {
    char path[FILE_PATH_MAX];
    return file_join(path, r->folder, "eval.json", err) < 0 ? -1 : json_write_file(path, r->eval, err);
}

int results_samples_path(char path[FILE_PATH_MAX], const char *folder, const char *task, struct err *err) {
    char name[64];
    snprintf(name, sizeof name, "samples_%s.jsonl", task);
    return file_join(path, folder, name, err);
}

/* The first member in which two objects differ. */
static int agree(const json_t *mine, const json_t *theirs, const char *what, const char *folder, struct err *err) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)mine, key, v) {
        const json_t *was = json_object_get(theirs, key);
        if (was && json_equal(v, was)) continue;
        const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10);
        char *a = json_dumps(v, flags), *b = was ? json_dumps(was, flags) : NULL;
        err_set(err, "%s: %s was begun with \"%s\": %.200s, this is %.200s; use another --out", folder, what, key,
                b ? b : "nothing", a ? a : "?");
        free(a);
        free(b);
        return -1;
    }
    return 0;
}

/* What is read of an entry must be there: others write the file too. */
static int check_entries(const json_t *of_tasks, const char *path, struct err *err) {
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)of_tasks, name, entry) {
        if (!json_is_object(json_object_get(entry, "settings")) || !json_is_string(json_object_get(entry, "hash")) ||
            !json_is_integer(json_object_get(entry, "items")) || !json_is_integer(json_object_get(entry, "skipped")))
            return err_set(err,
                           "%s: \"%.60s\": expected an object with \"settings\", \"hash\", \"items\" and \"skipped\", "
                           "as mdm eval writes it",
                           path, name);
    }
    return 0;
}

static int read_eval(struct results *r, const char *path, const json_t *config, struct err *err) {
    r->eval = json_read_file(path, JSON_BYTES, err);
    if (!r->eval) return -1;
    const json_t *of_tasks = tasks_of(r), *was = json_object_get(r->eval, "config");
    if (!json_is_object(of_tasks) || !json_is_object(was))
        return err_set(err, "%s: not an eval.json of mdm eval: \"config\" or \"tasks\" is missing", path);
    if (check_entries(of_tasks, path, err) < 0) return -1;
    return config ? agree(config, was, "it", r->folder, err) : 0;
}

/* Of a task whose samples are gone, numbers would vanish; unless it is asked now, which begins it anew. */
static int check_samples(struct results *r, const struct task *const *asked, int n, struct err *err) {
    char path[FILE_PATH_MAX];
    for (const struct task *t = tasks; t < tasks + ntasks; t++) {
        int i = 0;
        if (results_samples_path(path, r->folder, t->name, err) < 0) return -1;
        if (!json_object_get(tasks_of(r), t->name) || file_exists(path)) continue;
        while (i < n && asked[i] != t) i++;
        if (i == n)
            return err_set(err,
                           "%s is gone, and with it the results of %s: bring it back, or ask it again with --tasks %s",
                           path, t->name, t->name);
        json_object_del(tasks_of(r), t->name);
    }
    return 0;
}

/* NULL has one too. */
static int hash_json(uint64_t *h, const json_t *v, struct err *err) {
    char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
    if (v && !text) return no_memory(err);
    *h = hash_add(HASH_START, text ? text : "", text ? strlen(text) : 0);
    free(text);
    return 0;
}

static int open_folder(struct results *r, const char *folder, const json_t *config, const struct task *const *asked,
                       int n, struct err *err) {
    char path[FILE_PATH_MAX];
    if (strlen(folder) >= sizeof r->folder) return err_set(err, "%.60s…: the name is too long", folder);
    strcpy(r->folder, folder);
    if (file_join(path, folder, "eval.json", err) < 0 || (config && file_mkdirs(folder, err) < 0)) return -1;
    if (!config && !file_exists(path)) return err_set(err, "%s is not there: no folder of mdm eval", path);
    r->lock = lock_take(folder, err);
    if (r->lock < 0) return -1;
    file_sweep(folder);
    if (file_exists(path)) return read_eval(r, path, config, err) < 0 ? -1 : check_samples(r, asked, n, err);
    r->eval = json_pack("{s:s, s:O, s:{}}", "version", MDM_VERSION, "config", config, "tasks");
    return r->eval ? 0 : no_memory(err);
}

int results_open(struct results **out, const char *folder, const json_t *config, const struct task *const *asked, int n,
                 struct err *err) {
    struct results *r = *out = mem_alloc(1, sizeof *r, "results", err);
    if (r) r->lock = r->journal.fd = -1;
    int status = r && hash_json(&r->config, config, err) == 0 ? 0 : -1;
    if (status == 0 && comm_rank() == 0) status = open_folder(r, folder, config, asked, n, err);
    if (comm_settle(status, err) == 0) return 0;
    results_close(r);
    *out = NULL;
    return -1;
}

void results_close(struct results *r) {
    if (!r) return;
    journal_close(&r->journal);
    bytes_free(&r->pending);
    mem_free(r->ids);
    json_decref(r->eval);
    lock_release(r->lock);
    mem_free(r);
}

/* ---- a task ---- */

/* Of the first number that is not below id. */
static int64_t place_of(const struct results *r, int64_t id) {
    int64_t low = 0, high = r->n;
    if (high == 0 || r->ids[high - 1] < id) return high;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (r->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int add_id(struct results *r, int64_t id, const char *where, struct err *err) {
    const int64_t at = place_of(r, id), behind = r->n - at;
    if (behind > 0 && r->ids[at] == id)
        return err_set(err, "%s: doc_id %" PRId64 " is there twice: leave one of the lines", where, id);
    if (mem_grow(&r->ids, &r->capacity, r->n + 1, sizeof *r->ids, "numbers of items", err) < 0) return -1;
    memmove(r->ids + at + 1, r->ids + at, (size_t)behind * sizeof *r->ids);
    r->ids[at] = id;
    r->n++;
    r->unsorted |= behind > 0;
    return 0;
}

static int read_ids(struct results *r, const char *path, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    int status = in ? 1 : -1;
    while (status > 0 && (status = jsonl_next(in, &o, err)) > 0) {
        int64_t id;
        if (json_get_int(o, "doc_id", &id, 0, INT64_MAX, true, jsonl_where(in), err) < 0 ||
            add_id(r, id, jsonl_where(in), err) < 0)
            status = -1;
        json_decref(o);
    }
    jsonl_close(in);
    return status;
}

/* The entry of eval.json, which must agree when there are answers. */
static int enter(struct results *r, const char *name, json_t *settings, const struct task_items *files, bool answers,
                 struct err *err) {
    char digest[20];
    snprintf(digest, sizeof digest, "%016" PRIx64, task_items_hash(files));
    const json_t *was = json_object_get(tasks_of(r), name);
    json_t *now = json_pack("{s:O, s:s, s:I, s:i, s:i}", "settings", settings, "hash", digest, "items",
                            (json_int_t)task_items_count(files), "skipped", 0, "refused", 0);
    if (!now) return no_memory(err);
    const bool same = json_equal(json_object_get(was, "settings"), settings) &&
                      json_equal(json_object_get(was, "hash"), json_object_get(now, "hash"));
    int status = 0;
    if (!was && answers) {
        status =
            err_set(err,
                    "%s: there are answers of %s, and no entry of eval.json that says how they were made: bring it "
                    "back, or use another --out",
                    r->folder, name);
    } else if (!answers && !same) {
        status = json_object_set(tasks_of(r), name, now) < 0 ? no_memory(err) : write_eval(r, err);
    } else if (agree(json_object_get(now, "settings"), json_object_get(was, "settings"), name, r->folder, err) < 0) {
        status = -1;
    } else if (!json_equal(json_object_get(now, "hash"), json_object_get(was, "hash"))) {
        status = err_set(err,
                         "%s: %s was begun with other task files, or by an older version of mdm, which told "
                         "fewer of them apart; use another --out",
                         r->folder, name);
    }
    json_decref(now);
    return status;
}

/* How large the data set is, what was left out of it too. */
static int put_sizes(json_t *entry, const struct task_items *files, struct err *err) {
    return json_object_set_new(entry, "sizes", task_items_sizes(files)) < 0 ? no_memory(err) : 0;
}

static int begin(struct results *r, const struct task *t, json_t *settings, const struct task_items *files,
                 struct err *err) {
    char path[FILE_PATH_MAX];
    if (results_samples_path(path, r->folder, t->name, err) < 0) return -1;
    /* Samples come before their entry: an entry without them means that they are gone. */
    if (journal_open(&r->journal, path, err) < 0 || enter(r, t->name, settings, files, r->journal.size > 0, err) < 0 ||
        (task_items_count(files) >= 0 && put_sizes(json_object_get(tasks_of(r), t->name), files, err) < 0))
        return -1;
    return read_ids(r, path, err);
}

/* What rank 0 has: the same of all that numbers depend on, or an error; and its list of items that are there. */
static int begin_alike(struct results *r, const json_t *settings, uint64_t hash, struct err *err) {
    uint64_t mine[2] = {0, hash}, first[2];
    int64_t n = r->n;
    int status = hash_json(&mine[0], settings, err);
    mine[0] = hash_add(mine[0], &r->config, sizeof r->config);
    memcpy(first, mine, sizeof first);
    comm_tell(first, sizeof first);
    if (status == 0 && memcmp(first, mine, sizeof first) != 0)
        status = err_set(err, "rank 0 sees other weights, settings or files of %s", r->task->name);
    comm_tell(&n, sizeof n);
    if (status == 0) status = mem_grow(&r->ids, &r->capacity, n, sizeof *r->ids, "numbers of items", err);
    if (comm_settle(status, err) < 0) return -1;
    comm_tell(r->ids, n * (int64_t)sizeof *r->ids);
    r->n = n;
    return 0;
}

int results_begin(struct results *r, const struct task *t, json_t *settings, const struct task_items *files,
                  struct err *err) {
    journal_close(&r->journal);
    r->task = NULL;
    r->pending.n = r->n = 0;
    r->unsorted = false;
    r->limit = task_items_cut(files);
    int status = settings ? 0 : no_memory(err);
    if (status == 0 && comm_rank() == 0) status = begin(r, t, settings, files, err);
    status = comm_settle(status, err);
    if (status == 0) r->task = t;
    if (status == 0) status = begin_alike(r, settings, task_items_hash(files), err);
    json_decref(settings);
    return status;
}

bool results_has(const struct results *r, int64_t doc_id) {
    const int64_t at = place_of(r, doc_id);
    return at < r->n && r->ids[at] == doc_id;
}

bool results_any(const struct results *r) {
    return r->n > 0;
}

/* Requests and answers as the harness has them: pairs of texts and of numbers; a prompt with what it is written by, and a
 * text; of perplexity numbers alone. */
static int put_answers(const struct results *r, json_t *sample, const struct task_item *item,
                       const struct results_answer *answers, int n) {
    json_t *arguments = json_array(), *resps = json_array(), *filtered = json_array();
    json_t *settings = json_object_get(json_object_get(tasks_of(r), r->task->name), "settings");
    int bad = 0;
    for (int i = 0; i < n; i++) {
        const char *turn = json_string_value(json_array_get(json_object_get(item->doc, "turns"), (size_t)i));
        json_t *response = NULL;
        if (r->task->kind == TASK_PERPLEXITY) {
            response = json_real(answers[i].loglikelihood);
        } else if (answers[i].text) {
            response = json_string(answers[i].text);
            bad |= json_array_append_new(arguments, json_pack("[s,O]", turn ? turn : item->context, settings));
        } else {
            response = json_pack("[f,b]", answers[i].loglikelihood, answers[i].is_greedy);
            bad |= json_array_append_new(arguments, json_pack("[s,s]", item->context, item->continuations[i]));
        }
        bad |= json_array_append_new(resps, json_pack("[O]", response));
        bad |= json_array_append_new(filtered, response);
    }
    bad |= json_object_set_new(sample, "arguments", arguments);
    bad |= json_object_set_new(sample, "resps", resps);
    bad |= json_object_set_new(sample, "filtered_resps", filtered);
    return bad;
}

static json_t *sample_json(const struct results *r, const struct task_item *item, const struct results_answer *answers,
                           int n) {
    json_t *o =
        json_pack("{s:I, s:O, s:s}", "doc_id", (json_int_t)item->doc_id, "doc", item->doc, "target", item->target);
    int bad = o ? put_answers(r, o, item, answers, n) : -1;
    if (*item->group) bad |= json_object_set_new(o, "group", json_string(item->group));
    if (r->task->kind == TASK_CHAT) {
        json_t *seconds = json_array();
        for (int i = 0; i < n; i++)
            bad |= json_array_append_new(seconds,
                                         isfinite(answers[i].seconds) ? json_real(answers[i].seconds) : json_null());
        bad |= json_object_set_new(o, "seconds_of_turns", seconds);
        bad |= json_object_set_new(o, "tstamp", json_real((double)time(NULL)));
    }
    if (bad) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* Is all that another limit wants in what this run wants? Of an unknown one nobody can tell: it goes with any run's end. */
static bool wants_all_of(const struct results *r, const json_t *limit) {
    return r->limit == 0 || json_is_true(limit) ||
           (json_integer_value(limit) > 0 && r->limit >= json_integer_value(limit));
}

static int mark_unfinished(struct results *r, struct err *err) {
    json_t *entry = json_object_get(tasks_of(r), r->task->name), *was = json_object_get(entry, "unfinished");
    if (was && (!wants_all_of(r, was) || json_integer_value(was) == r->limit)) return 0;
    return json_object_set_new(entry, "unfinished", json_integer(r->limit)) < 0 ? no_memory(err) : write_eval(r, err);
}

int results_want(struct results *r, int64_t n, struct err *err) {
    return comm_settle(comm_rank() == 0 && n > 0 ? mark_unfinished(r, err) : 0, err);
}

int results_add(struct results *r, const struct task_item *item, const struct results_answer *answers, int n,
                struct err *err) {
    for (int i = 0; i < n; i++)
        if (!isfinite(answers[i].loglikelihood))
            return err_set(err,
                           "item %" PRId64 " of %s: the model's log-likelihood is no number: are its weights whole?",
                           item->doc_id, r->task->name);
    json_t *o = sample_json(r, item, answers, n);
    int status = o ? results_metrics_of(o, r->task, "results", err) : no_memory(err);
    char *line = status == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
    if (status == 0 && !line) status = no_memory(err);
    if (status == 0 && r->pending.n > 0) status = bytes_push(&r->pending, "\n", 1, err);
    if (status == 0) status = bytes_push(&r->pending, line, (int64_t)strlen(line), err);
    if (status == 0) status = add_id(r, item->doc_id, "results", err);
    free(line);
    json_decref(o);
    return status;
}

int results_sync(struct results *r, struct err *err) {
    if (r->pending.n == 0) return 0;
    const int status = journal_add(&r->journal, r->pending.v, r->pending.n, err);
    r->pending.n = 0;
    return status;
}

/* An earlier run with a higher limit may have met more. */
static int put_most(json_t *entry, const char *key, int64_t n) {
    return n < json_integer_value(json_object_get(entry, key)) ? 0 : json_object_set_new(entry, key, json_integer(n));
}

struct sample_line {
    int64_t id, at, n; /* bytes of the text, their line break too */
};

static int by_id(const void *a, const void *b) {
    const int64_t x = ((const struct sample_line *)a)->id, y = ((const struct sample_line *)b)->id;
    return (x > y) - (x < y);
}

/* The lines of the samples, as they stand there; r->n of them. */
static int read_lines(const struct results *r, struct bytes *text, struct sample_line *lines, struct err *err) {
    struct jsonl *in = jsonl_open(r->journal.path, err);
    json_t *o;
    int64_t count = 0, n;
    int status = in ? 1 : -1;
    while (status > 0 && (status = jsonl_next(in, &o, err)) > 0) {
        const int64_t id = json_integer_value(json_object_get(o, "doc_id")), at = text->n;
        const char *line = jsonl_text(in, &n);
        json_decref(o);
        if (count == r->n) break;
        lines[count++] = (struct sample_line){id, at, n + 1};
        if (bytes_push(text, line, n, err) < 0 || bytes_push(text, "\n", 1, err) < 0) status = -1;
    }
    jsonl_close(in);
    if (status > 0 || (status == 0 && count < r->n))
        return err_set(err, "%s was changed while it was read: begin again", r->journal.path);
    return status;
}

static int write_lines(const char *path, const char *text, const struct sample_line *lines, int64_t n,
                       struct err *err) {
    struct file_out *f = file_out_open(path, err);
    int status = f ? 0 : -1;
    for (int64_t i = 0; i < n && status == 0; i++)
        status = file_out_write(f, text + lines[i].at, (size_t)lines[i].n, err);
    if (status == 0) return file_out_commit(f, err);
    file_out_abort(f);
    return -1;
}

/* An earlier run's limit left items of a group out that stand before others: the file becomes that of one go. */
static int sort_samples(struct results *r, struct err *err) {
    char path[FILE_PATH_MAX];
    struct bytes text = {0};
    struct sample_line *lines = mem_alloc(r->n, sizeof *lines, "lines of samples", err);
    strcpy(path, r->journal.path);
    int status = lines ? read_lines(r, &text, lines, err) : -1;
    if (status == 0) {
        qsort(lines, (size_t)r->n, sizeof *lines, by_id);
        status = write_lines(path, text.v, lines, r->n, err);
    }
    bytes_free(&text);
    mem_free(lines);
    if (status < 0) return -1;
    journal_close(&r->journal);
    r->unsorted = false;
    return journal_open(&r->journal, path, err);
}

static int finish(struct results *r, const struct task_items *files, struct err *err) {
    json_t *entry = json_object_get(tasks_of(r), r->task->name);
    const bool counted = json_integer_value(json_object_get(entry, "items")) > 0; /* none: there may be some now */
    if (r->unsorted && sort_samples(r, err) < 0) return -1;
    if (wants_all_of(r, json_object_get(entry, "unfinished"))) json_object_del(entry, "unfinished");
    if (put_most(entry, "skipped", task_items_skipped(files)) < 0 ||
        put_most(entry, "refused", task_items_refused(files)) < 0 ||
        (!counted && json_object_set_new(entry, "items", json_integer(r->n)) < 0))
        return no_memory(err);
    return put_sizes(entry, files, err) < 0 ? -1 : write_eval(r, err);
}

int results_finish(struct results *r, const struct task_items *files, struct err *err) {
    return comm_settle(comm_rank() == 0 ? finish(r, files, err) : 0, err);
}

/* ---- results.json ---- */

/* How large a group's data set is, or (NULL) the task's; null: not known. */
static json_t *size_of(const json_t *entry, const char *group) {
    json_t *sizes = json_object_get(entry, "sizes"), *size;
    const char *name;
    bool known = false;
    json_int_t sum = 0;
    json_object_foreach(sizes, name, size) {
        if (group && strcmp(name, group) != 0) continue;
        if (!json_is_integer(size)) return json_null();
        const json_int_t n = json_integer_value(size);
        if (n < 0 || n > INT64_MAX - sum) return json_null(); /* nor what somebody has spoilt */
        sum += n;
        known = true;
    }
    return known ? json_integer(sum) : json_null();
}

/* Members of one task, or of a group of its items, in the objects of results.json. */
static int tell_group(json_t *all, const char *name, const struct task *t, const struct results_group *g,
                      const json_t *entry, struct err *err) {
    json_t *results = results_group_json(g, t), *better = json_object(), *metrics = json_array();
    int bad = 0;
    for (int m = 0; m < RESULTS_METRICS; m++) {
        if (!(t->metrics & results_metrics[m].bit)) continue;
        bad |= json_object_set_new(better, results_metrics[m].name, json_boolean(results_metrics[m].higher_is_better));
        bad |= json_array_append_new(metrics, json_pack("{s:s}", "metric", results_metrics[m].name));
    }
    json_t *config = json_pack("{s:s, s:s, s:o, s:O}", "task", name, "doc_to_text", t->context, "metric_list", metrics,
                               "metadata", json_object_get(entry, "settings"));
    bad |= json_object_set_new(json_object_get(all, "results"), name, results);
    bad |= json_object_set_new(json_object_get(all, "configs"), name, config);
    bad |= json_object_set_new(json_object_get(all, "versions"), name, json_real(strtod(t->version, NULL)));
    bad |= json_object_set_new(json_object_get(all, "n-shot"), name, json_integer(0));
    bad |= json_object_set_new(json_object_get(all, "higher_is_better"), name, better);
    return bad ? no_memory(err) : 0;
}

/* Its member of n-samples. What was left out is told of the whole task (group NULL). */
static int tell_samples(json_t *all, const char *name, const char *group, int64_t n, const json_t *entry) {
    json_t *samples = json_pack("{s:o, s:I, s:O*, s:o*}", "original", size_of(entry, group), "effective", (json_int_t)n,
                                "skipped", group ? NULL : json_object_get(entry, "skipped"), "unfinished",
                                json_object_get(entry, "unfinished") ? json_true() : NULL);
    return json_object_set_new(json_object_get(all, "n-samples"), name, samples);
}

/* A task and, as tasks of their own with TASK_ before their names, the groups of its items. */
static int tell_task(json_t *all, const struct task *t, const struct results_groups *g, const json_t *entry,
                     struct err *err) {
    json_t *parts = json_array();
    int bad = tell_samples(all, t->name, NULL, g->whole.n, entry);
    int status = g->whole.n > 0 ? tell_group(all, t->name, t, &g->whole, entry, err) : 0;
    for (int64_t i = 0; i < g->n && status == 0; i++) {
        char name[RESULTS_GROUP + 64];
        snprintf(name, sizeof name, "%s_%s", t->name, g->v[i].name);
        status = tell_group(all, name, t, &g->v[i], entry, err);
        bad |= tell_samples(all, name, g->v[i].name, g->v[i].n, entry);
        bad |= json_array_append_new(parts, json_string(name));
    }
    if (g->whole.n == 0)
        json_decref(parts);
    else
        bad |= json_object_set_new(json_object_get(all, "group_subtasks"), t->name, parts);
    return status == 0 && bad ? no_memory(err) : status;
}

/* What stands under the table of a task of which not all is there. 1: all is; 0; -1. */
static int note_part(struct bytes *notes, const struct task *t, const struct results_groups *g, const json_t *entry,
                     struct err *err) {
    const json_int_t all = json_integer_value(json_object_get(entry, "items"));
    const json_int_t refused = json_integer_value(json_object_get(entry, "refused"));
    const json_t *unfinished = json_object_get(entry, "unfinished");
    const long long limit = json_integer_value(unfinished);
    char end[64] = "";
    const int64_t n = g->whole.n;
    if (unfinished) strcpy(end, ", not finished");
    if (limit > 0) snprintf(end, sizeof end, ", not finished (--limit %lld)", limit);
    if (all < 0) return bytes_printf(notes, err, "%s: %" PRId64 " items%s\n", t->name, n, end);
    if (n > 0 && n + refused >= all && !unfinished) return 1;
    return bytes_printf(notes, err, "%s: %" PRId64 " of %" JSON_INTEGER_FORMAT " items%s\n", t->name, n, all, end);
}

/* Reads a task's samples into results.json's objects, the table and what stands under it. */
static int write_task(struct results *r, const struct task *t, json_t *all, struct results_table *table,
                      struct bytes *notes, struct err *err) {
    char path[FILE_PATH_MAX];
    const json_t *entry = json_object_get(tasks_of(r), t->name);
    struct results_groups groups = {0};
    if (!entry) return 0;
    if (results_samples_path(path, r->folder, t->name, err) < 0) return -1;
    int status = results_groups_read(&groups, t, path, err);
    if (status == 0) status = note_part(notes, t, &groups, entry, err);
    if (status > 0) r->whole |= 1ull << (t - tasks), status = 0;
    if (status == 0) status = tell_task(all, t, &groups, entry, err);
    if (status == 0 && groups.whole.n > 0) status = results_table_add(table, &groups, t, err);
    if (status == 0 && groups.whole.n > 0 && t->kind == TASK_CHAT)
        status = results_chat_write(r->folder, path, json_object_get(entry, "settings"), err);
    results_groups_free(&groups);
    return status;
}

static int write_results(struct results *r, FILE *out, struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *all = json_pack("{s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:O, s:s}", "results", "group_subtasks",
                            "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
                            json_object_get(r->eval, "config"), "mdm_version", MDM_VERSION);
    struct results_table table = {0};
    struct bytes notes = {0};
    BUG_ON(ntasks > 64);
    r->whole = 0;
    int status = all ? 0 : no_memory(err);
    for (int i = 0; i < ntasks && status == 0; i++) status = write_task(r, &tasks[i], all, &table, &notes, err);
    if (status == 0 && out) results_table_print(&table, out);
    if (status == 0 && out && notes.n > 0) fputs(notes.v, out);
    results_table_free(&table);
    bytes_free(&notes);
    if (status == 0)
        status = file_join(path, r->folder, "results.json", err) < 0 ? -1 : json_write_file(path, all, err);
    json_decref(all);
    return status;
}

int results_write(struct results *r, FILE *out, struct err *err) {
    return comm_settle(comm_rank() == 0 ? write_results(r, out, err) : 0, err);
}

bool results_whole(const struct results *r, const struct task *t) {
    return r->whole >> (t - tasks) & 1;
}

int results_rescore(const char *folder, FILE *out, struct err *err) {
    struct results *r;
    if (results_open(&r, folder, NULL, NULL, 0, err) < 0) return -1;
    const int status = results_write(r, out, err);
    results_close(r);
    return status;
}

/* results: answers of a model to tasks, kept item by item in a folder, and what comes of them, in the form of
 * lm-evaluation-harness 0.4.4.
 *
 *     struct results *r = results_open("out", config, &err);                 // config: model, weights, seed … (any object)
 *     struct results_task *rt = results_task(r, task, settings, hash, count, &err);
 *     if (!results_has(rt, item.doc_id)) results_add(rt, &item, answers, &err);
 *     results_sync(rt, &err);                                                // what was added is on the disk
 *     results_finish(rt, skipped, &err);
 *     results_write(r, &err);                                                // out/results.json
 *     results_print(r, stdout, &err);
 *     results_close(r);
 *
 * OUT/eval.json      config, and settings and data hash of each task: what another run into the same folder must agree with
 * OUT/samples_TASK.jsonl  a line per item: doc_id, doc, target, arguments, resps, filtered_resps, metrics; sorted by doc_id
 *                         when the task is finished. After kill -9 a torn last line is cut off
 * OUT/results.json   results, group_subtasks, configs, versions, n-shot, higher_is_better, n-samples, config
 * OUT/answers_mtbench.jsonl  the answers in FastChat's form, for mdm judge
 *
 * Metrics are computed from the lines of samples alone, by this run and by results_rescore(). Sums run in the order of
 * doc_id, so that they are the harness's to the last bit. */
#ifndef MDM_EVAL_RESULTS_H
#define MDM_EVAL_RESULTS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct results;
struct results_task;
struct task;
struct task_item;

struct results_answer {   /* of one request */
    double loglikelihood; /* choice, last word, perplexity: of all its tokens */
    double variance;      /* perplexity: of that estimate; 0: it is exact */
    int64_t tokens;       /* how many were predicted or written */
    bool is_greedy;
    const char *text; /* generate, chat: what the model wrote; of several passes, the last one */
    double seconds;   /* generate, chat */
};

/* Makes and locks the folder. `config` becomes results.json's "config"; a folder with another one is an error that names the
 * first difference. Members whose name starts with "_" may differ (threads, batch size, times). */
struct results *results_open(const char *out, const json_t *config, struct err *err);
/* Begins or goes on with a task. settings: an object of what its numbers depend on beside config; must agree, as must
 * `hash`, with what the folder has. count: items of its files (-1: not known yet). Borrowed from r. */
struct results_task *results_task(struct results *r, const struct task *t, const json_t *settings, uint64_t hash,
                                  int64_t count, struct err *err);
bool results_has(const struct results_task *rt, int64_t doc_id);
int64_t results_count(const struct results_task *rt); /* items that are there */
/* `answers`: item->n of them for choices, else one. perplexity: an item is a chunk, whose doc and doc_id the caller makes
 * (context, continuations not used). Kept in memory until results_sync(). */
int results_add(struct results_task *rt, const struct task_item *item, const struct results_answer *answers,
                struct err *err);
int results_sync(struct results_task *rt, struct err *err); /* one write, one fsync */
/* All that was wanted is there (with a limit: fewer than count). Sorts the file. */
int results_finish(struct results_task *rt, int64_t skipped, struct err *err);
/* results.json out of all tasks that the folder has samples of; finished ones and others. */
int results_write(struct results *r, struct err *err);
/* The harness's table, of results_write()'s numbers. */
int results_print(const struct results *r, FILE *out, struct err *err);
void results_close(struct results *r); /* NULL is fine */

/* Computes the metrics of a folder's samples again, writes results.json and prints the table (out NULL: does not). */
int results_rescore(const char *folder, FILE *out, struct err *err);

#endif

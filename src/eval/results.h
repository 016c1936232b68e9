/* results: answers of a model to tasks, kept item by item in a folder, and what comes of them, in the form of
 * lm-evaluation-harness 0.4.4.
 *
 *     struct results *r;
 *     results_open(&r, "out", config, tasks, n, &err);    // config: model, weights, seed … (any object)
 *     results_begin(r, task, settings, files, &err);      // files: struct task_items, its limit set
 *     if (!results_has(r, item.doc_id)) ask(&item), wanted++;
 *     results_want(r, wanted, &err);                      // before it is answered: the task is unfinished
 *     results_add(r, &item, answers, n, &err);
 *     results_sync(r, &err);                              // what was added is on the disk
 *     results_finish(r, files, &err);
 *     results_write(r, stdout, &err);                     // out/results.json, and the harness's table
 *     results_close(r);
 *
 * OUT/eval.json           config, and of each task settings and data hash, with which another run into the same folder must
 *                         agree; items, sizes of the files by group, how many were left out, and, as long as not all that any
 *                         run wanted is there, "unfinished": the largest limit of those runs (0: none)
 * OUT/samples_TASK.jsonl  a line per item: doc_id, doc, target, arguments, resps, filtered_resps, the item's metrics, its
 *                         group if it has one, of chats seconds and tstamp. In the order of doc_id when the task is finished:
 *                         a larger limit adds to every group. After kill -9 a torn last line is cut off
 * OUT/results.json        results, group_subtasks, configs, versions, n-shot, higher_is_better, n-samples, config; a task whose
 *                         items are in groups has them as tasks of their own, TASK_GROUP, too. n-samples has beside the
 *                         harness's members a task's "skipped", and "unfinished": true where this or an earlier run wanted
 *                         items that are not there yet
 * OUT/model_answer/ID.jsonl  of mtbench: answers in FastChat's form
 *
 * Of several ranks, rank 0 has the folder; the others know which items are there. All of them open, begin, want, finish and write, and
 * what fails on one fails on all; rank 0 alone adds and syncs.
 *
 * Metrics are computed from filtered_resps, target and arguments of the lines alone, by this run and by results_rescore(). */
#ifndef MDM_EVAL_RESULTS_H
#define MDM_EVAL_RESULTS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/file.h"

struct err;
struct results;
struct task;
struct task_item;
struct task_items;

struct results_answer { /* to one request */
    double loglikelihood;
    bool is_greedy;
    char *text;     /* what was written; NULL: a log-likelihood was asked */
    double seconds; /* of a written text; NaN: its turn was not asked */
};

/* Makes and locks the folder. `config` (borrowed) becomes results.json's "config"; a folder with another one is an error
 * that names the first difference. Where samples are gone of which results.json has numbers, that is an error too, but for
 * the n tasks that are to be asked: those begin anew. */
int results_open(struct results **out, const char *folder, const json_t *config, const struct task *const *asked, int n,
                 struct err *err);
/* Begins or goes on with a task; settings (taken over): an object of what its numbers depend on beside config. They and
 * the files' hash must agree with what the folder has. */
int results_begin(struct results *r, const struct task *t, json_t *settings, const struct task_items *files,
                  struct err *err);
bool results_has(const struct results *r, int64_t doc_id); /* of the task that was begun */
bool results_any(const struct results *r);
/* n items that are not there will be asked: until results_finish() with at least this limit, what reads the folder sees that (0: it changes nothing). */
int results_want(struct results *r, int64_t n, struct err *err);
/* n answers: of choices and last words item->n. Kept in memory until results_sync(). */
int results_add(struct results *r, const struct task_item *item, const struct results_answer *answers, int n,
                struct err *err);
int results_sync(struct results *r, struct err *err); /* one write, one fsync */
/* All that was wanted of the files is there, or was left out. */
int results_finish(struct results *r, const struct task_items *files, struct err *err);
/* results.json out of all tasks of the folder, and the table (out NULL: none); under it a line for each task of which not all
 * items are there. */
int results_write(struct results *r, FILE *out, struct err *err);
/* On rank 0: results_write() found all items of the task. */
bool results_whole(const struct results *r, const struct task *t);
void results_close(struct results *r); /* NULL is fine */

/* Where the answers to a task are. */
int results_samples_path(char path[FILE_PATH_MAX], const char *folder, const char *task, struct err *err);
/* Computes the metrics of a folder's samples again: results_write() without a model. */
int results_rescore(const char *folder, FILE *out, struct err *err);

#endif

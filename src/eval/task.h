/* task: what a model is asked in an evaluation, as one table, and the items of a task out of the files people have.
 *
 *     const struct task *t = task_find("piqa");
 *     struct task_items *items = task_items_open(t, "data", false, &err);     // files of data/piqa, every row checked
 *     while ((k = task_items_next(items, &item, &err)) > 0) {
 *         item.context, item.continuations[0 … item.n - 1]                    // to be scored
 *         task_item_free(&item);
 *     }
 *     task_items_close(items);
 *
 * Templates and metrics are those of lm-evaluation-harness 0.4.4 where it has the task (docs/evaluation.md says what each
 * is); gsm8k, reverse_*, perplexity and mtbench are those of arXiv 2410.18514. A file's rows become documents with the
 * harness's fields, whatever the file is: an original release, Hugging Face Parquet or JSON lines. */
#ifndef MDM_EVAL_TASK_H
#define MDM_EVAL_TASK_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "infer/likelihood.h"

struct err;
struct task_items;

enum { TASK_CHOICES = 64 }; /* of an item, at most */
enum task_kind {
    TASK_CHOICE,     /* log-likelihoods of n continuations; the best one is the answer */
    TASK_LAST_WORD,  /* one continuation: its log-likelihood, and would greedy decoding write it? */
    TASK_GENERATE,   /* the model writes on from the context; its text is compared with the target */
    TASK_PERPLEXITY, /* documents; the runner packs them into chunks of the model's length */
    TASK_CHAT        /* the model answers the context as a user's turn; nothing is compared */
};
enum task_metric { /* bits */
                   METRIC_ACC = 1,
                   METRIC_ACC_NORM = 2, /* best log-likelihood per character of the choice */
                   METRIC_PERPLEXITY = 4,
                   METRIC_BLEU = 8,    /* over characters (eval/bleu.h) */
                   METRIC_DRAWS = 16,  /* the perplexity's standard error that comes of masks alone */
                   METRIC_SECONDS = 32 /* that an answer took */
};
struct task_settings { /* published for the 1.1 B MDM; an ARM takes `length` and `temperature` */
    enum likelihood_method likelihood;
    double cfg;
    int64_t draws;                 /* of mc; of perplexity's masks */
    const char *sampler;           /* of infer/sampler.h; NULL: nothing is generated */
    int64_t steps, length, passes; /* length: in all, the prompt too; passes > 1: the decoded text is the next prompt */
    double temperature;
    int64_t batch; /* texts written together; 0: as many as are of use */
};
enum { TASK_FOLDERS = 4, TASK_FILES = 8 };
struct task {
    const char *name;
    enum task_kind kind;
    unsigned metrics;
    const char *version;              /* the harness's; "1.0" where it has no such task */
    const char *context, *choices[4]; /* templates: {{field}} is a field of the document or made from it. A choice that
                                         is a list gives all its elements */
    struct task_settings published;
    const char *folders[TASK_FOLDERS]; /* below the data folder; the first one that has the task's files counts */
    const char *split;                 /* "validation" or "test": what the files are called beside those named here */
    const char *files[TASK_FILES];     /* patterns of names in a folder: the first that fits; "GROUP=NAME": all */
    bool own;                          /* of nobody's benchmark: not among "all" */
    const char *gather;                /* rows that have this field in common are one, if a row is one question */
    const char *source;                /* what the files are, one line */
    /* Checks a row and makes it a document with the harness's fields; what else the templates need, and "gold" or
     * "target", goes into `made`. */
    int (*document)(json_t *doc, json_t *made, const char *where, struct err *err);
    /* What was written: is it right? */
    int (*right)(bool *out, const char *text, const char *target, struct err *err);
};

extern const struct task tasks[];
extern const int ntasks;
const struct task *task_find(const char *name); /* NULL: there is none */
const char *task_names(void);                   /* of all, with ", " between */
/* The tasks of "piqa,race" or "all" (all choice and last word tasks but one's own). Count, or -1 with err, which lists the names. */
int task_list(const struct task **list, int max, const char *names, struct err *err);

struct task_item {     /* owns all it points to: task_item_free() */
    int64_t doc_id;    /* number of the row, from 0; skipped ones count */
    json_t *doc;       /* object with the harness's fields */
    const char *group; /* "", or the part of a task that has metrics of its own (a file or month of perplexity; same) */
    const char *context;        /* perplexity: the document's text */
    int n;                      /* continuations: choices; 1 for the last word; 0: none */
    const char **continuations; /* with the space before them */
    int gold;                   /* the right choice; -1: not a choice task */
    const char *target; /* text: last word's continuation, right choice's number, answer to compare with, or "" */
    void *memory;
};

/* Finds the task's files in DIR/TASK (or a name the task is also known by) and reads them once through, so that a bad row
 * is known before anything is computed: an error that names file and line, or, with keep_going, a row that is left
 * out and counted. That there is no item at all is an error, too; with keep_going task_items_nothing() tells it.
 * perplexity's files, which may be large, are not read ahead. */
struct task_items *task_items_open(const struct task *t, const char *dir, bool keep_going, struct err *err);
struct task_documents {      /* how perplexity's files are read; zeros: as said */
    const char *text_field;  /* NULL: "text", else "content" */
    const char *month_field; /* a date or time by whose month documents are grouped; NULL: by file */
    const char *separator;   /* between documents of plain text (data/reader.h) */
};
/* Before the first item; borrowed. An error: without months, a file's name cannot be a group's. */
int task_items_documents(struct task_items *items, const struct task_documents *d, struct err *err);
/* Before the first item: of each group the first n, of perplexity chunks; 0: all. */
void task_items_limit(struct task_items *items, int64_t n);
int64_t task_items_count(const struct task_items *items);  /* items of the files; -1: not known (perplexity) */
int64_t task_items_wanted(const struct task_items *items); /* of them to come in all; -1 */
int64_t task_items_cut(const struct task_items *items);    /* the limit; 0: it cuts nothing off */
/* perplexity: has the group all the chunks that it may have? A chunk becomes an item of it; its number in the group. */
bool task_items_full(const struct task_items *items, const char *group);
int64_t task_items_take(struct task_items *items, const char *group);
/* {GROUP: its rows, those that were left out too}, of a task without groups {"": rows}; of perplexity, after the last
 * item, chunks, null where the limit cut. NULL: no memory. */
json_t *task_items_sizes(const struct task_items *items);
/* The item just given cannot be asked, and is left out. */
void task_items_refuse(struct task_items *items, const struct err *why);
int64_t task_items_refused(const struct task_items *items);
/* Rows left out and refused so far; after the last item, all. */
int64_t task_items_skipped(const struct task_items *items);
/* -1 and the error that there is no item, or that all were left out, and why the first. */
int task_items_nothing(const struct task_items *items, struct err *err);
/* Of all contexts, continuations and targets, and of the numbers of items behind rows that were left out; perplexity: of
 * names and sizes of its files. */
uint64_t task_items_hash(const struct task_items *items);
const char *task_items_where(const struct task_items *items); /* file and line of the item just read */
const char *task_items_path(const struct task_items *items);  /* the file, or the first of several */
int task_items_next(struct task_items *items, struct task_item *item, struct err *err); /* 1; 0 at the end; -1 */
void task_items_close(struct task_items *items);                                        /* NULL is fine */
void task_item_free(struct task_item *item);                                            /* a zeroed one is fine */

#endif

/* judge_show: judgments (eval/judge.h, or FastChat's) to tables: mean scores per model, turn and category; wins, ties and
 * losses. Scores of -1, and pairs in which a judgment names no winner, are counted apart. */
#ifndef MDM_EVAL_JUDGE_SHOW_H
#define MDM_EVAL_JUDGE_SHOW_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;

enum { SHOW_NAME = 128, SHOW_CATEGORIES = 32 };
struct show_mean {
    double sum;
    int64_t n;
};
struct show_model {
    char name[SHOW_NAME];
    struct show_mean turns[2], categories[SHOW_CATEGORIES];
    int64_t unreadable; /* single judgments without a score */
    int64_t wins, losses, ties, errors;
};
struct judge_table {
    char judge[SHOW_NAME]; /* whose judgments they are: one judge */
    struct show_model *models;
    int64_t n, capacity;
    char categories[SHOW_CATEGORIES][SHOW_NAME];
    int ncategories;
    void *category_of; /* question's id → number of its category */
};

/* Is it a folder with files of judgments, JUDGE_single.jsonl or JUDGE_pair.jsonl? */
bool judge_folder(const char *path);
/* From files of judgments, single or pairs, and folders of such, with at least one judgment; models in the order of the
 * tables, best first. `data`: the folder of question.jsonl, which tells categories; NULL: none. */
int judge_table_open(struct judge_table *t, const char *data, char **paths, int n, struct err *err);
void judge_table_print(FILE *out, const struct judge_table *t);
/* Has it what a radar plot shows: three categories, and judgments that are no pairs? */
int judge_table_drawable(const struct judge_table *t, struct err *err);
/* The radar plot, FILE.svg or FILE.png (base/gnuplot.h): a model's mean per category, 0 where it has no judgments
 * (gnuplot leaves a model out that lacks one). */
int judge_table_draw(const struct judge_table *t, const char *out, struct err *err);
void judge_table_close(struct judge_table *t);

#endif

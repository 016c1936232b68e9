/* task_rows: which files a task has in a folder, and their rows one after another.
 *
 *     struct task_rows *rows = task_rows_open(task, "data", &err);
 *     while ((k = task_rows_next(rows, &row, &group, &err)) > 0) { …; json_decref(row); }
 *     task_rows_close(rows);
 *
 * A row is an object as the file has it. Beside a file NAME.jsonl a list NAME-labels.lst gives each row its "label". Plain
 * text gives {"text": line}, a .txt of RACE the one object that it is, perplexity's plain text {"text": document}. */
#ifndef MDM_EVAL_TASK_ROWS_H
#define MDM_EVAL_TASK_ROWS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct task;
struct task_rows;

struct task_rows *task_rows_open(const struct task *t, const char *dir, struct err *err);
/* 1, a row and the group that its file is (borrowed); 0 at the end; -1. */
int task_rows_next(struct task_rows *rows, json_t **row, const char **group, struct err *err);
/* After -1: can task_rows_next() go on behind the row that was wrong? */
bool task_rows_passable(const struct task_rows *rows);
void task_rows_separator(struct task_rows *rows, const char *separator); /* of documents of plain text; borrowed */
void task_rows_pass_file(struct task_rows *rows);                        /* no more rows of the file of the last one */
void task_rows_rewind(struct task_rows *rows);                           /* the first row comes next */
const char *task_rows_where(const struct task_rows *rows); /* of the row just read, or of the one that was wrong */
/* perplexity by files: is every group's name short enough for results, and of one file or folder alone? */
int task_rows_check_groups(const struct task_rows *rows, struct err *err);
int64_t task_rows_files(const struct task_rows *rows);
/* perplexity: the folder that makes a group of the file and others; NULL: the file is one by itself. */
const char *task_rows_folder(const struct task_rows *rows, int64_t file);
const char *task_rows_path(const struct task_rows *rows, int64_t file);
void task_rows_close(struct task_rows *rows); /* NULL is fine */

#endif

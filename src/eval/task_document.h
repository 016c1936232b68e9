/* task_document: what the table of tasks (eval/task.h) makes of a row: each checks the fields it needs, changes the row to
 * the harness's form of it where the file's is another, and puts into `made` what the templates need beside the row's
 * fields: "gold" (number of the right choice) or "target" (text), and "query", "choices", "context", "prompt". And what the
 * table makes of a text that was written. */
#ifndef MDM_EVAL_TASK_DOCUMENT_H
#define MDM_EVAL_TASK_DOCUMENT_H
#include <jansson.h>
#include <stdbool.h>

struct bytes;
struct err;

int document_hellaswag(json_t *doc, json_t *made, const char *where, struct err *err);
int document_openbookqa(json_t *doc, json_t *made, const char *where, struct err *err);
int document_arc(json_t *doc, json_t *made, const char *where, struct err *err);
int document_of_two(json_t *doc, json_t *made, const char *where, struct err *err);
int document_social_iqa(json_t *doc, json_t *made, const char *where, struct err *err);
int document_race(json_t *doc, json_t *made, const char *where, struct err *err);
int document_lambada(json_t *doc, json_t *made, const char *where, struct err *err);
int document_cloze(json_t *doc, json_t *made, const char *where, struct err *err);
int document_gsm8k(json_t *doc, json_t *made, const char *where, struct err *err);
int document_reverse(json_t *doc, json_t *made, const char *where, struct err *err);
int document_mtbench(json_t *doc, json_t *made, const char *where, struct err *err);

/* Is a written text right? gsm8k: its answer (eval/answer.h) equals the target. reverse: the target, without white space
 * around it, is somewhere in it, in capitals or small letters. */
int right_answer(bool *out, const char *text, const char *target, struct err *err);
int right_inside(bool *out, const char *text, const char *target, struct err *err);

#endif

/* mtbench: the files of MT-Bench in FastChat's form, and what a judge is asked about them.
 *
 *     struct mtbench b;
 *     mtbench_open(&b, "mt_bench/question.jsonl", "mt_bench/judge_prompts.jsonl", "mt_bench/reference_answer/gpt-4.jsonl",
 *                  0, &err);
 *     mtbench_answers(&b, "mdm.jsonl", &err);                 // b.models[0]
 *     mtbench_ask(&b, &(struct mt_case){.question = 0, .turn = 1, .model = {0, -1}}, &system, &user, &err);
 *
 * question.jsonl has question_id, category, turns; answers have question_id, model_id, choices[0].turns; reference answers
 * the same. Which prompt a case takes: single-v1 or pair-v2, with reference answers (math, reasoning, coding) single-math-v1
 * or pair-math-v1, and "-multi-turn" behind the name for the second turn. */
#ifndef MDM_EVAL_MTBENCH_H
#define MDM_EVAL_MTBENCH_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

enum { MT_TURNS = 2, MT_PROMPTS = 8, MT_ID = 60 /* bytes of a question's id, at most */ };

struct mt_question {
    const json_t *id; /* a number or a string */
    const char *category;
    const char *turns[MT_TURNS];
    const char *references[MT_TURNS]; /* NULL: none */
    int nturns;
};
struct mt_model {
    const char *name;                 /* the model_id of its lines */
    const char *(*answers)[MT_TURNS]; /* one a question; NULL: that turn was not answered */
    bool second;                      /* it answered some second turn: else it was asked first turns only */
};
struct mt_prompt {
    const char *name, *system, *text;
    char where[512]; /* file and line; empty: the prompt is not in the file */
};
struct mtbench {
    struct mt_question *questions;
    int64_t n, capacity;
    struct mt_model *models; /* sorted by name */
    int64_t nmodels, models_capacity;
    struct mt_prompt prompts[MT_PROMPTS];
    json_t *documents; /* owns all texts */
};
struct mt_case {
    int64_t question;
    int turn;         /* 1 or 2 */
    int64_t model[2]; /* whose answers; second one -1: one answer is judged by itself */
};

/* At most `limit` questions (0: all). `references` may be NULL. */
int mtbench_open(struct mtbench *b, const char *questions, const char *prompts, const char *references, int64_t limit,
                 struct err *err);
/* One more model; its file must answer every question. */
int mtbench_answers(struct mtbench *b, const char *path, struct err *err);
/* The prompt's name and the judge's two messages; *user is made, the caller mem_free()s it. */
int mtbench_ask(const struct mtbench *b, const struct mt_case *c, const char **prompt, const char **system, char **user,
                struct err *err);
void mtbench_close(struct mtbench *b); /* a zeroed one is fine */

/* A line's "question_id": a number, or a string of 1 to MT_ID bytes. Borrowed. */
int mt_question_id(const json_t *line, const json_t **id, const char *where, struct err *err);
/* An id as text, for keys and messages, in a caller's buffer. */
const char *mt_id(char out[64], const json_t *id);
/* The first [[n]] of a judgment, else its first [n], else -1. */
double mt_score(const char *judgment);
/* "A", "B", "tie" or "error": what of [[A]], [[B]], [[C]] is in it, looked for in this order. */
const char *mt_winner(const char *judgment);

#endif

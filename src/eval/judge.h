/* judge: a language model scores answers to MT-Bench, or says which of two is better; files in FastChat's form.
 *
 *     OUT/JUDGE_single.jsonl   question_id, model, judge, user_prompt, judgment, score, turn, tstamp
 *     OUT/JUDGE_pair.jsonl     question_id, model_1, model_2, g1_winner, g2_winner, judge, g1_user_prompt, g1_judgment,
 *                              g2_user_prompt, g2_judgment, turn, tstamp
 *
 * A judgment is on the disk before the next answer is looked at, and what is there is never asked for again: the files
 * are the state. Where one was asked with another answer or prompt than now, the run is refused before it asks anything.
 * A pair is judged in both orders; the first judgment of a pair waits in JUDGE_pair.half.jsonl for the second, and that
 * file goes away when no pair is left open. */
#ifndef MDM_EVAL_JUDGE_H
#define MDM_EVAL_JUDGE_H
#include "eval/chatapi.h"
#include "eval/mtbench.h"

enum judge_mode { JUDGE_SINGLE, JUDGE_BASELINE, JUDGE_PAIRS };
struct judge_settings {
    enum judge_mode mode;
    const char *baseline; /* JUDGE_BASELINE: the model that all others are compared with */
    const char *out;      /* a folder; made when it is not there */
    int turn;             /* 1 or 2; 0: both */
    struct chatapi_settings api;
};
struct judge_result {
    int64_t wanted, there, left; /* judgments (a pair is one): of this command; found in the file; still missing */
    int64_t first_turn_only;     /* models without second turns, which are judged by their first */
    int64_t cut;                 /* bytes of a torn line that an interrupted run had left */
    char file[4096];
    struct chatapi_result api;
};

/* Judges what is missing. An error when it could not go on; what was judged until then is in the file. */
int judge_run(struct judge_result *result, const struct mtbench *b, const struct judge_settings *s, struct err *err);

#endif

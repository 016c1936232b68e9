/* results_chat: samples of mtbench to the answers file that FastChat and `mdm judge` read. */
#ifndef MDM_EVAL_RESULTS_CHAT_H
#define MDM_EVAL_RESULTS_CHAT_H
#include <jansson.h>

struct err;

enum { RESULTS_MODEL_ID = 200 }; /* bytes of a model's id, at most: it becomes a file's name */

/* FOLDER/model_answer/ID.jsonl of the samples at `path`; ID: "model_id" of the task's settings, '/' in it as '_'. A line has
 * question_id, answer_id, model_id, choices [{index, turns}], tstamp, and seconds of each turn. */
int results_chat_write(const char *folder, const char *path, const json_t *settings, struct err *err);

#endif

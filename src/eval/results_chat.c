/* results_chat: one line a sample. A first turn alone leaves the second one empty, as the published answers do. */
#include "eval/results_chat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/jsonl.h"

static json_t *turns_of(const json_t *sample) {
    const size_t asked = json_array_size(json_object_get(json_object_get(sample, "doc"), "turns"));
    json_t *turns = json_deep_copy(json_object_get(sample, "filtered_resps"));
    while (turns && json_array_size(turns) < asked) json_array_append_new(turns, json_string(""));
    return turns;
}

/* Equal answers to equal questions have equal ids. */
static void answer_id(char out[20], const json_t *id, const char *model, const json_t *turns) {
    char *text = json_dumps(turns, JSON_COMPACT | JSON_ENCODE_ANY), *question = json_dumps(id, JSON_ENCODE_ANY);
    uint64_t h = hash_add(HASH_START, model, strlen(model) + 1);
    if (question) h = hash_add(h, question, strlen(question) + 1);
    if (text) h = hash_add(h, text, strlen(text));
    snprintf(out, 20, "%016" PRIx64, hash_finish(h));
    free(text);
    free(question);
}

static int write_line(struct file_out *f, const json_t *sample, const char *model, const char *where, struct err *err) {
    json_t *id = json_object_get(json_object_get(sample, "doc"), "question_id"), *turns = turns_of(sample);
    char hash[20];
    if (!id || !json_is_array(turns)) {
        json_decref(turns);
        return err_set(err, "%s: expected \"doc\" with \"question_id\", and \"filtered_resps\"", where);
    }
    answer_id(hash, id, model, turns);
    json_t *o = json_pack("{s:O, s:s, s:s, s:[{s:i, s:o}], s:O, s:O}", "question_id", id, "answer_id", hash, "model_id",
                          model, "choices", "index", 0, "turns", turns, "tstamp", json_object_get(sample, "tstamp"),
                          "seconds", json_object_get(sample, "seconds_of_turns"));
    char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
    int status = line ? file_out_write(f, line, strlen(line), err)
                      : err_set(err, "%s: \"tstamp\" or \"seconds_of_turns\" is missing, or no memory", where);
    if (status == 0) status = file_out_write(f, "\n", 1, err);
    free(line);
    json_decref(o);
    return status;
}

static int write_lines(struct file_out *f, const char *path, const char *model, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *sample;
    int status = in ? 0 : -1;
    while (status == 0 && (status = jsonl_next(in, &sample, err)) > 0) {
        status = write_line(f, sample, model, jsonl_where(in), err);
        json_decref(sample);
    }
    jsonl_close(in);
    return status;
}

int results_chat_write(const char *folder, const char *path, const json_t *settings, struct err *err) {
    const char *model;
    char name[RESULTS_MODEL_ID + 8], answers[FILE_PATH_MAX], out[FILE_PATH_MAX];
    if (json_get_str(settings, "model_id", &model, true, "eval.json: settings of mtbench", err) < 0) return -1;
    if (strlen(model) > RESULTS_MODEL_ID)
        return err_set(err, "eval.json: settings of mtbench: \"model_id\" is longer than %d bytes", RESULTS_MODEL_ID);
    sprintf(name, "%s.jsonl", model);
    for (char *c = name; *c; c++)
        if (*c == '/') *c = '_';
    if (file_join(answers, folder, "model_answer", err) < 0 || file_mkdirs(answers, err) < 0 ||
        file_join(out, answers, name, err) < 0)
        return -1;
    file_sweep(answers);
    struct file_out *f = file_out_open(out, err);
    if (!f) return -1;
    if (write_lines(f, path, model, err) == 0) return file_out_commit(f, err);
    file_out_abort(f);
    return -1;
}

/* chatapi: questions to a chat-completions server (POST BASE/chat/completions), several at a time, each until it is
 * answered.
 *
 *     struct chatapi_settings s = {.base = "http://127.0.0.1:8000/v1", .model = "m", .parallel = 4, .tries = 16, …};
 *     chatapi_run(&s, 2, ask, take, context, &result, &err);   // ask() for the messages of job i, take() for its answer
 *
 * A lost connection, half an answer, what is no answer at all, and the statuses 408, 409, 429 and 5xx are tried again,
 * after a pause that doubles and is never shorter than the server's Retry-After; a line on stderr says so, of those that
 * fail within `pause` seconds for the first. Other statuses end the job at once,
 * and 401, 403 and 404 the run: nothing else would come of the other jobs. So does a job that has used its tries up while
 * no other was answered, and a Retry-After of more than an hour. However a run ends, requests under way are waited for and
 * their answers taken; but not where libcurl itself fails. The key goes into the request's header and nowhere else: what the server says is searched for it. */
#ifndef MDM_EVAL_CHATAPI_H
#define MDM_EVAL_CHATAPI_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct progress;

struct chatapi_settings {
    const char *base, *model;
    const char *key; /* NULL: none */
    int64_t parallel, tries, most_tokens;
    double temperature;
    double pause;              /* seconds after the first failure; at most 12 times that later */
    double timeout;            /* seconds for one request */
    struct progress *progress; /* whose bar gives way to lines about what failed and is asked again; NULL: no bar */
};
struct chatapi_result {
    int64_t answered, failed, requests;
    int64_t prompt_tokens, answer_tokens; /* as the server counts them */
    bool stopped;                         /* asked to stop (base/stop.h) */
    char why[1024];                       /* of the first failed job: one line */
    char trouble[1024]; /* of the last request that was to be tried again; empty once one is answered */
};
/* The messages of a job, asked for once, when it starts. *user is the run's to mem_free(). Both functions end the run
 * when they return a negative number (with err). */
typedef int chatapi_ask(void *context, int64_t job, const char **system, char **user, struct err *err);
/* Takes an answer, in the order in which they come. */
typedef int chatapi_take(void *context, int64_t job, const char *text, struct err *err);

/* An error when the run could not go on; jobs that failed are counted in `result`. */
int chatapi_run(const struct chatapi_settings *s, int64_t n, chatapi_ask *ask, chatapi_take *take, void *context,
                struct chatapi_result *result, struct err *err);

#endif

/* chatapi: against a server of our own that delays, drops, sends 429, 500, half an answer, wrong JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "eval/chatapi.h"
#include "unit/http_help.h"

#define KEY "sk-very-secret-0123456789"
enum { JOBS = 12, SECONDS = 100 };

static struct server server;
static struct err err;
static struct chatapi_settings settings;
static struct chatapi_result result;
static char answers[JOBS][256];
static int taken[JOBS];
static int64_t cannot_ask;

static int ask(void *context, int64_t job, const char **system, char **user, struct err *e) {
    (void)context;
    char text[32];
    *system = "Judge.";
    if (job == cannot_ask) return err_set(e, "no memory for question %d", (int)job);
    snprintf(text, sizeof text, "question %d", (int)job);
    *user = mem_strdup(text, e);
    return *user ? 0 : -1;
}

static int take(void *context, int64_t job, const char *text, struct err *e) {
    (void)context;
    taken[job]++;
    snprintf(answers[job], sizeof answers[job], "%s", text);
    return strcmp(text, "refuse me") ? 0 : err_set(e, "the disk is full");
}

static int run_jobs(void (*plan)(void *, const struct request *, struct reply *), int n) {
    memset(answers, 0, sizeof answers);
    memset(taken, 0, sizeof taken);
    err.msg[0] = 0;
    server_start(&server, plan, NULL);
    settings.base = server.base;
    const int r = chatapi_run(&settings, n, ask, take, NULL, &result, &err);
    server_stop(&server);
    assert_int_equal(mem_in_use(), 0);
    return r;
}

static int number(const struct request *r) {
    return atoi(r->user + strlen("question "));
}

/* ---- what is sent, and how many at a time ---- */

static void echo(void *context, const struct request *r, struct reply *p) {
    (void)context;
    static const char *const texts[] = {"a [[1]]", "b", "\u00e9\n\"quoted\""};
    p->text = texts[number(r) % 3];
    p->delay_ms = 60;
}

static void plain(void **state) {
    (void)state;
    settings.parallel = 3;
    assert_int_equal(run_jobs(echo, JOBS), 0);
    assert_int_equal(result.answered, JOBS);
    assert_int_equal(result.failed, 0);
    assert_int_equal(result.requests, JOBS);
    assert_int_equal(result.prompt_tokens, 100 * JOBS);
    assert_int_equal(result.answer_tokens, 10 * JOBS);
    assert_false(result.stopped);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(taken[i], 1);
        assert_string_equal(answers[i], i % 3 == 0 ? "a [[1]]" : i % 3 == 1 ? "b" : "\u00e9\n\"quoted\"");
    }
    assert_int_equal(server.most, 3);
}

static void half_a_pair(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->body = number(r) == 0 ? "{\"choices\": [{\"message\": {\"content\": \"so \\ud83d [[7]]\"}}]}"
                             : "{\"error\": {\"message\": \"no \\udc00\"}}";
    if (number(r) == 1) p->status = 400;
}

/* Half a surrogate pair, which servers in Python send, is U+FFFD as in every file, and no reason to pay again. */
static void half_surrogates(void **state) {
    (void)state;
    assert_int_equal(run_jobs(half_a_pair, 2), 0);
    assert_int_equal(result.requests, 2);
    assert_string_equal(answers[0], "so \xef\xbf\xbd [[7]]");
    assert_non_null(strstr(result.why, "status 400: no \xef\xbf\xbd"));
}

static void form(void **state) {
    (void)state;
    server_start(&server, echo, NULL);
    settings.base = server.base;
    settings.key = KEY;
    assert_int_equal(chatapi_run(&settings, 1, ask, take, NULL, &result, &err), 0);
    json_t *v = json_loads(server.requests[0].body, 0, NULL);
    const char *model = NULL, *role[2] = {NULL, NULL}, *text[2] = {NULL, NULL};
    double temperature = -1;
    json_int_t most = 0;
    assert_int_equal(json_unpack(v, "{s:s, s:[{s:s, s:s}, {s:s, s:s}], s:F, s:I}", "model", &model, "messages", "role",
                                 &role[0], "content", &text[0], "role", &role[1], "content", &text[1], "temperature",
                                 &temperature, "max_tokens", &most),
                     0);
    assert_string_equal(model, "judge-1");
    assert_string_equal(role[0], "system");
    assert_string_equal(text[0], "Judge.");
    assert_string_equal(role[1], "user");
    assert_string_equal(text[1], "question 0");
    assert_true(temperature == 0);
    assert_int_equal(most, 2048);
    assert_string_equal(server.requests[0].authorization, "Bearer " KEY);
    json_decref(v);
    server_stop(&server);
    settings.key = NULL;
    assert_int_equal(run_jobs(echo, 1), 0);
    assert_string_equal(server.requests[0].authorization, "");
}

/* ---- trouble that passes ---- */

static void troubled(void *context, const struct request *r, struct reply *p) {
    (void)context;
    if (r->turn == 2) return;
    switch (number(r)) {
    case 0:
        p->drop = true;
        return;
    case 1:
        p->status = 500;
        return;
    case 2:
        p->half = true;
        return;
    case 3:
        p->body = "{\"choices\": [{\"message\"";
        return;
    case 4:
        p->body = "<html>busy</html>";
        return;
    case 5:
        p->body = "{\"choices\": []}";
        return;
    case 6:
        p->body = "{\"choices\": [{\"message\": {\"content\": 7}}]}";
        return;
    case 7:
        p->status = 429;
        return;
    case 8:
        p->status = 503;
        return;
    case 9:
        p->status = 408;
        return;
    case 10:
        p->delay_ms = 1500;
        return; /* longer than the timeout */
    default:
        return;
    }
}

static void passing_trouble(void **state) {
    (void)state;
    settings.parallel = 12;
    settings.timeout = 0.5;
    assert_int_equal(run_jobs(troubled, JOBS), 0);
    assert_int_equal(result.answered, JOBS);
    assert_int_equal(result.requests, 3 * (JOBS - 1) + 1); /* two tries in vain for all but the last */
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(taken[i], 1);
        assert_string_equal(answers[i], "fine");
    }
}

/* Nothing said is an answer too: asked once, and its tokens counted. */
static void silent(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->body = number(r) == 0
                  ? "{\"choices\": [{\"message\": {\"content\": \"\"}}], \"usage\": {\"completion_tokens\": 5}}"
                  : "{\"choices\": [{\"message\": {\"content\": null}}], \"usage\": {\"completion_tokens\": 6}}";
}

static void nothing_said(void **state) {
    (void)state;
    assert_int_equal(run_jobs(silent, 2), 0);
    assert_int_equal(result.answered, 2);
    assert_int_equal(result.requests, 2);
    assert_int_equal(result.answer_tokens, 11);
    assert_string_equal(answers[0], "");
    assert_string_equal(answers[1], "");
}

/* Pauses: the settings' one doubles, and the server's wish is waited for. */
static void slow_down(void *context, const struct request *r, struct reply *p) {
    (void)context;
    if (r->turn < 3) p->status = 500;
    if (r->turn == 0 && number(r) == 1) p->status = 429, p->retry_after = 2;
    if (r->turn == 0 && number(r) == 2) p->retry_after = 1; /* 500 may wish too; that holds back this job alone */
}

static void pauses(void **state) {
    (void)state;
    double last[3] = {0}, gap[3][4] = {{0}};
    settings.pause = 0.1;
    settings.parallel = 1;
    assert_int_equal(run_jobs(slow_down, 3), 0);
    for (int i = 0; i < server.n; i++) {
        const struct request *r = &server.requests[i];
        const int k = number(r);
        gap[k][r->turn] = r->time - last[k];
        last[k] = r->time;
    }
    for (int turn = 1; turn <= 3; turn++)
        if (!(gap[0][turn] >= 0.1 * pow(2, turn - 1) - 0.01 && gap[0][turn] < 0.1 * pow(2, turn - 1) + 1))
            fail_msg("pause %d was %.3f s", turn, gap[0][turn]);
    if (!(gap[1][1] >= 1.98 && gap[1][1] < 4)) fail_msg("Retry-After: 2 was %.3f s", gap[1][1]);
    if (!(gap[2][1] >= 0.98 && gap[2][1] < 3)) fail_msg("Retry-After: 1 was %.3f s", gap[2][1]);
    assert_int_equal(result.answered, 3);
}

static void too_many(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->wait = number(r) != 0; /* whose answer would make place for the next job */
    if (number(r) == 0 && r->turn == 0) p->status = 429, p->retry_after = 1;
}

/* "Too many requests" is meant for all of them. */
static void all_hold(void **state) {
    (void)state;
    settings.parallel = 2;
    assert_int_equal(run_jobs(too_many, 4), 0);
    assert_int_equal(server.n, 5);
    for (int i = 2; i < server.n; i++) assert_true(server.requests[i].time - server.requests[0].time > 0.98);
}

/* ---- trouble that stays ---- */

static void one_is_bad(void *context, const struct request *r, struct reply *p) {
    (void)context;
    if (number(r) != 1) return;
    p->status = 400;
    p->body = "{\"error\": {\"message\": \"too long\\nfor me\"}}";
}

static void failed_job(void **state) {
    (void)state;
    assert_int_equal(run_jobs(one_is_bad, 4), 0);
    assert_int_equal(result.answered, 3);
    assert_int_equal(result.failed, 1);
    assert_int_equal(result.requests, 4); /* 400 is not tried again */
    assert_non_null(strstr(result.why, "/v1/chat/completions: status 400: too long?for me"));
    assert_int_equal(taken[1], 0);
}

static void one_always_breaks(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->status = number(r) == 1 ? 500 : 0;
    p->delay_ms = number(r) == 1 ? 200 : 5; /* others are answered meanwhile, on a busy machine too */
}

static void tries(void **state) {
    (void)state;
    settings.tries = 3;
    settings.parallel = 2;
    assert_int_equal(run_jobs(one_always_breaks, 8), 0);
    assert_int_equal(result.answered, 7);
    assert_int_equal(result.failed, 1);
    assert_int_equal(result.requests, 7 + 3);
}

static void down(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->drop = true;
}

/* Where nothing at all is answered the first job that gives up ends the run. */
static void server_down(void **state) {
    (void)state;
    settings.tries = 4;
    settings.parallel = 1;
    assert_int_equal(run_jobs(down, JOBS), -1);
    assert_int_equal(result.requests, 4);
    assert_non_null(strstr(err.msg, "given up after 4 tries"));
    settings.base = "http://127.0.0.1:1/v1"; /* nobody listens there */
    assert_int_equal(chatapi_run(&settings, 1, ask, take, NULL, &result, &err), -1);
    assert_non_null(strstr(err.msg, "http://127.0.0.1:1/v1/chat/completions"));
    settings.base = "file:///etc/passwd";
    assert_int_equal(chatapi_run(&settings, 1, ask, take, NULL, &result, &err), 0);
    assert_int_equal(result.failed, 1);
}

static void no_entry(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->status = 401;
    p->body = "{\"error\": {\"message\": \"the key " KEY " is wrong, is it not, " KEY "?\"}}";
}

static void tells_the_key(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->text = "I saw " KEY ".";
    if (number(r) == 1) p->body = "not JSON: " KEY, p->status = 422;
}

static void key_is_kept(void **state) {
    (void)state;
    settings.key = KEY;
    settings.parallel = 1;
    assert_int_equal(run_jobs(no_entry, 3), -1);
    assert_int_equal(result.requests, 1); /* the others would fare no better */
    assert_non_null(strstr(err.msg, "status 401: the key ****"));
    assert_null(strstr(err.msg, "secret"));
    assert_int_equal(run_jobs(tells_the_key, 2), 0);
    assert_null(strstr(answers[0], "secret"));
    assert_null(strstr(result.why, "secret"));
    assert_non_null(strstr(result.why, "not JSON: ***"));
}

static void elsewhere(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    static char other[128];
    snprintf(other, sizeof other, "%s/other", server.base);
    p->status = 307;
    p->location = other;
}

/* The key does not go where a server sends it. */
static void redirection(void **state) {
    (void)state;
    settings.key = KEY;
    assert_int_equal(run_jobs(elsewhere, 1), 0);
    assert_int_equal(result.failed, 1);
    assert_int_equal(server.n, 1);
    assert_non_null(strstr(result.why, "status 307"));
}

/* Job 0 is told to go, while the others are under way. */
static void told_to_go(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->wait = number(r) != 0; /* for the answer to job 0 */
    if (number(r) == 0) p->status = 403;
}

static void gives_up(void *context, const struct request *r, struct reply *p) {
    told_to_go(context, r, p);
    if (number(r) == 0) p->status = 500;
}

/* An error ends the run, but what others were paid for meanwhile is kept. */
static void paid_for(void **state) {
    (void)state;
    void (*const plans[])(void *, const struct request *, struct reply *) = {told_to_go, gives_up};
    settings.tries = 1;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(run_jobs(plans[k], 8), -1);
        assert_non_null(strstr(err.msg, k == 0 ? "status 403" : "given up after 1 tries"));
        assert_int_equal(result.requests, 4);
        assert_int_equal(result.answered, 3);
        for (int i = 0; i < 8; i++) assert_int_equal(taken[i], i >= 1 && i < 4);
    }
}

static void slow(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->delay_ms = 60;
}

/* Nor is it lost when a question cannot be made. */
static void no_question(void **state) {
    (void)state;
    cannot_ask = 3;
    assert_int_equal(run_jobs(slow, 8), -1);
    assert_string_equal(err.msg, "no memory for question 3");
    assert_int_equal(result.requests, 3);
    for (int i = 0; i < 8; i++) assert_int_equal(taken[i], i < 3);
}

static void much_later(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->status = 503;
    p->retry_after = 3601;
}

static void long_wait(void **state) {
    (void)state;
    settings.parallel = 1;
    assert_int_equal(run_jobs(much_later, 2), -1);
    assert_int_equal(result.requests, 1);
    assert_non_null(strstr(err.msg, "status 503"));
    assert_non_null(strstr(err.msg, "; it wants no other try for 3601 s: start again then"));
}

static void full_disk(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->text = "refuse me";
}

static void taker_stops(void **state) {
    (void)state;
    settings.parallel = 1;
    assert_int_equal(run_jobs(full_disk, 3), -1);
    assert_string_equal(err.msg, "the disk is full");
    assert_int_equal(result.requests, 1);
}

static int setup(void **state) {
    (void)state;
    alarm(SECONDS); /* a server or client that hangs is a failure */
    setenv("no_proxy", "127.0.0.1", 1);
    progress_quiet = true;
    return 0;
}

static int fresh(void **state) {
    (void)state;
    cannot_ask = -1;
    settings = (struct chatapi_settings){
        .model = "judge-1", .parallel = 4, .tries = 16, .most_tokens = 2048, .pause = 0.01, .timeout = 20};
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(plain, fresh),           cmocka_unit_test_setup(form, fresh),
        cmocka_unit_test_setup(passing_trouble, fresh), cmocka_unit_test_setup(nothing_said, fresh),
        cmocka_unit_test_setup(pauses, fresh),          cmocka_unit_test_setup(all_hold, fresh),
        cmocka_unit_test_setup(failed_job, fresh),      cmocka_unit_test_setup(tries, fresh),
        cmocka_unit_test_setup(server_down, fresh),     cmocka_unit_test_setup(key_is_kept, fresh),
        cmocka_unit_test_setup(redirection, fresh),     cmocka_unit_test_setup(taker_stops, fresh),
        cmocka_unit_test_setup(paid_for, fresh),        cmocka_unit_test_setup(long_wait, fresh),
        cmocka_unit_test_setup(no_question, fresh),     cmocka_unit_test_setup(half_surrogates, fresh),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

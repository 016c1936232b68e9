/* judge: the program against a server of our own: files in FastChat's form, nothing paid for twice whatever stops it, the
 * key nowhere, and one clear line for what is wrong with a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "eval/judge.h"
#include "eval/judge_show.h"
#include "test_data.h"
#include "http_help.h"
#include "judge_help.h"

static struct server server;
static struct err err;

/* ---- calls, and what they leave ---- */

#define BASIC "--data data --out out --pause 0.02 --timeout 5 --quiet --api-base "
static const char *line(const char *rest) {
    static char text[4096];
    snprintf(text, sizeof text, BASIC "%s %s", server.base, rest);
    return text;
}

static void runs(int want, const char *rest) {
    const int got = finish(start(line(rest)));
    if (got != want) fail_msg("mdm judge %s: status %d, expected %d: %s%s", rest, got, want, out, errors);
}

static void refuses(const char *rest, const char *says) {
    runs(2, rest);
    if (!strstr(errors, says)) fail_msg("'%s' lacks '%s'", errors, says);
    assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
    assert_int_equal(server.n, 0);
}

/* The lines of a file of judgments; the caller json_decref()s. */
static json_t *judgments(const char *name) {
    json_t *list = json_array();
    FILE *f = fopen(in(dir, name), "r");
    char *text = NULL;
    size_t size = 0;
    while (f && getline(&text, &size, f) > 0) {
        json_t *v = json_loads(text, 0, NULL);
        if (!v) fail_msg("%s: not JSON: %s", name, text);
        assert_null(strstr(text, "secret"));
        json_array_append_new(list, v);
    }
    free(text);
    if (f) fclose(f);
    return list;
}

static const char *str(const json_t *v, const char *key) {
    return json_string_value(json_object_get(v, key));
}

/* ---- plans ---- */

static void scores(void *context, const struct request *r, struct reply *p) {
    (void)context;
    p->text = strstr(r->user, "two")    ? "Rating: [[4]]"
              : strstr(r->user, "song") ? "about [3]"
              : strstr(r->user, "sky")  ? "no idea"
                                        : "Rating: [[7.5]]";
}

/* The judge likes model-a, wherever it stands; of the song it likes what comes first. */
static void prefers(void *context, const struct request *r, struct reply *p) {
    (void)context;
    const char *a = strstr(r->user, " A "), *ours = strstr(r->user, "model-a");
    p->text = strstr(r->user, "song")   ? "[[A]]"
              : strstr(r->user, "sky")  ? "well"
              : strstr(r->user, "Sort") ? "[[C]]"
              : ours && ours < a + 8    ? "so [[A]]"
                                        : "so [[B]]";
}

static void slowly(void *context, const struct request *r, struct reply *p) {
    scores(context, r, p);
    p->delay_ms = 150;
}

static void never(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->drop = true;
}

/* ---- single ---- */

static void single(void **state) {
    (void)state;
    server_start(&server, scores, NULL);
    runs(0, "a.jsonl b.jsonl");
    assert_non_null(strstr(out, "out/gpt-4_single.jsonl: 11 judgments, 11 of them new"));
    assert_int_equal(server.n, 4 + 3 + 4); /* model-b was not asked second turns */
    json_t *list = judgments("out/gpt-4_single.jsonl"), *v;
    size_t i;
    int seen = 0;
    json_array_foreach(list, i, v) {
        const json_t *id = json_object_get(v, "question_id");
        const char *prompt = json_string_value(json_array_get(json_object_get(v, "judge"), 1));
        const int turn = (int)json_integer_value(json_object_get(v, "turn"));
        assert_string_equal(json_string_value(json_array_get(json_object_get(v, "judge"), 0)), "gpt-4");
        assert_true(json_is_real(json_object_get(v, "tstamp")));
        if (strcmp(str(v, "model"), "model-a") != 0) continue;
        if (json_integer_value(id) == 81 && turn == 1) {
            seen++;
            assert_string_equal(prompt, "single-v1");
            assert_string_equal(str(v, "user_prompt"), "one {x} Q Write {a} song. A model-a says 0");
            assert_string_equal(str(v, "judgment"), "about [3]");
            assert_int_equal(json_integer_value(json_object_get(v, "score")), 3);
        } else if (json_integer_value(id) == 101 && turn == 2) {
            seen++;
            assert_string_equal(prompt, "single-math-v1-multi-turn");
            assert_string_equal(str(v, "user_prompt"), "two R 4 R 6 A model-a says 1 A more of it");
        } else if (json_is_string(id) && turn == 1) {
            seen++;
            assert_string_equal(str(v, "user_prompt"), "one Q Sort three numbers. R sort() A model-a says 2");
            assert_true(json_number_value(json_object_get(v, "score")) == 7.5);
        } else if (json_integer_value(id) == 5) {
            seen++;
            assert_int_equal(json_integer_value(json_object_get(v, "score")), -1);
        }
    }
    assert_int_equal(seen, 4);
    json_decref(list);
    runs(0, "a.jsonl b.jsonl"); /* all there: nobody is asked */
    assert_int_equal(server.n, 11);
    assert_non_null(strstr(out, "11 judgments, 0 of them new"));
    runs(0, "--turns 1 --limit 2 --judge other/judge a.jsonl"); /* another judge has a file of its own */
    assert_int_equal(server.n, 13);
    assert_true(there(in(dir, "out/other_judge_single.jsonl")));
    runs(2, "--turns 1 --limit 2 --judge other_judge a.jsonl"); /* unless a file of that name has a third one's */
    assert_int_equal(server.n, 13);
    assert_non_null(strstr(errors, "other_judge_single.jsonl line 1: a judgment by 'other/judge'"));
    server_stop(&server);
}

/* What an interrupted run left: whole lines are kept, the torn one is asked for again. */
static void torn_line(void **state) {
    (void)state;
    server_start(&server, scores, NULL);
    runs(0, "--parallel 1 a.jsonl");
    size_t n;
    char *text = get(in(dir, "out/gpt-4_single.jsonl"), &n);
    put(in(dir, "out/gpt-4_single.jsonl"), text, n - 30);
    const int before = server.n;
    runs(0, "--parallel 1 a.jsonl");
    assert_int_equal(server.n, before + 1);
    json_t *list = judgments("out/gpt-4_single.jsonl");
    assert_int_equal(json_array_size(list), 7);
    json_decref(list);
    free(text);
    server_stop(&server);
}

/* Ctrl-C: requests under way are waited for and saved, the rest is for the next run. */
static void interrupted(void **state) {
    (void)state;
    server_start(&server, slowly, NULL);
    char loud[512];
    snprintf(loud, sizeof loud, "--data data --out out --parallel 2 --api-base %s a.jsonl b.jsonl", server.base);
    const pid_t child = start(loud);
    while (server.n < 3) usleep(5000);
    kill(child, SIGINT);
    assert_int_equal(finish(child), 128 + SIGINT);
    json_t *list = judgments("out/gpt-4_single.jsonl");
    const int have = (int)json_array_size(list);
    assert_true(have >= 3 && have < 11);
    assert_int_equal(have, server.n); /* whatever was asked is there */
    char want[128];
    snprintf(want, sizeof want, "stopped; %d of 11 judgments are in out/gpt-4_single.jsonl; the same command goes on",
             have);
    if (!strstr(errors, want)) fail_msg("'%s' lacks '%s'", errors, want);
    json_decref(list);
    const pid_t quiet = start(line("--parallel 1 a.jsonl b.jsonl"));
    while (server.n < have + 1) usleep(5000);
    kill(quiet, SIGINT);
    assert_int_equal(finish(quiet), 128 + SIGINT);
    assert_string_equal(errors, "");
    runs(0, "a.jsonl b.jsonl");
    assert_int_equal(server.n, 11);
    server_stop(&server);
}

/* kill -9 at many moments: the file always holds whole lines, no judgment twice, and is complete in the end; what is paid
 * for twice is at most what was under way. */
static void killed(void **state) {
    (void)state;
    enum { ROUNDS = 6, PARALLEL = 2 };
    server_start(&server, slowly, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        const pid_t child = start(line("--parallel 2 a.jsonl b.jsonl"));
        usleep((unsigned)(60000 + 45000 * round));
        kill(child, SIGKILL);
        finish(child);
        json_decref(judgments("out/gpt-4_single.jsonl"));
    }
    runs(0, "a.jsonl b.jsonl");
    json_t *list = judgments("out/gpt-4_single.jsonl"), *v, *seen = json_object();
    size_t i;
    json_array_foreach(list, i, v) json_object_set_new(seen, str(v, "user_prompt"), json_true());
    assert_int_equal(json_array_size(list), 11);
    assert_int_equal(json_object_size(seen), 11);
    assert_true(server.n <= 11 + ROUNDS * PARALLEL);
    json_decref(seen);
    json_decref(list);
    server_stop(&server);
}

static void some_fail(void *context, const struct request *r, struct reply *p) {
    scores(context, r, p);
    if (strstr(r->user, "sky") && r->turn == 0) p->status = 400, p->body = "{\"error\": {\"message\": \"no skies\"}}";
}

static void missing(void **state) {
    (void)state;
    server_start(&server, some_fail, NULL);
    runs(2, "--turns 1 a.jsonl");
    assert_non_null(strstr(errors,
                           "1 of 4 judgments are missing; the same command asks for them again; the first failed "
                           "with: http://127.0.0.1:"));
    assert_non_null(strstr(errors, "status 400: no skies"));
    runs(0, "--turns 1 a.jsonl");
    assert_int_equal(server.n, 5);
    server_stop(&server);
    server_start(&server, never, NULL);
    runs(2, "--tries 2 --parallel 1 c.jsonl");
    assert_int_equal(server.n, 2);
    assert_non_null(strstr(errors, "given up after 2 tries"));
    server_stop(&server);
}

static void overloaded(void *context, const struct request *r, struct reply *p) {
    (void)context, (void)r;
    p->status = 500;
    p->body = "{\"error\": {\"message\": \"overloaded\"}}";
}

static void first_fails(void *context, const struct request *r, struct reply *p) {
    slowly(context, r, p);
    if (strstr(r->user, "song") && r->turn == 0) p->status = 500;
}

static int occurrences(const char *text, const char *of) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, of)) != NULL; at++) n++;
    return n;
}

/* Who waits is told for what: each try once, however many requests fail side by side; and so is who stops waiting. */
static void told(void **state) {
    (void)state;
    server_start(&server, overloaded, NULL);
    char rest[512];
    snprintf(rest, sizeof rest,
             "--data data --out out --pause 1 --tries 3 --parallel 4 --api-base %s --turns 1 a.jsonl", server.base);
    assert_int_equal(finish(start(rest)), 2);
    assert_int_equal(occurrences(errors, "/v1/chat/completions: status 500: overloaded; asked again in "), 2);
    assert_int_equal(occurrences(errors, "status 500: overloaded; asked again in 1 s, try 2 of 3\n"), 1);
    assert_int_equal(occurrences(errors, "status 500: overloaded; asked again in 2 s, try 3 of 3\n"), 1);
    assert_non_null(strstr(errors, "status 500: overloaded; given up after 3 tries\n"));
    const int before = server.n;
    const pid_t child = start(line("--pause 60 --turns 1 a.jsonl")); /* --quiet: errors only */
    while (server.n < before + 4) usleep(5000);
    usleep(100000);
    kill(child, SIGINT);
    assert_int_equal(finish(child), 128 + SIGINT);
    assert_int_equal(occurrences(errors, "\n"), 1);
    assert_non_null(strstr(errors, "the same command goes on; the last request failed with: http://127.0.0.1:"));
    assert_non_null(strstr(errors, "status 500: overloaded\n"));
    server_stop(&server);
    server_start(&server, first_fails, NULL);
    const pid_t next = start(line("--parallel 1 a.jsonl"));
    while (server.n < 3) usleep(5000);
    kill(next, SIGINT);
    assert_int_equal(finish(next), 128 + SIGINT);
    assert_null(strstr(errors, "failed")); /* trouble that has passed */
    server_stop(&server);
}

/* ---- pairs ---- */

static void pairs(void **state) {
    (void)state;
    server_start(&server, prefers, NULL);
    runs(0, "--mode pairwise-all c.jsonl a.jsonl"); /* the order of files does not matter: names are sorted */
    assert_int_equal(server.n, 2 * 7);
    assert_false(there(in(dir, "out/gpt-4_pair.half.jsonl")));
    json_t *list = judgments("out/gpt-4_pair.jsonl"), *v;
    size_t i;
    assert_int_equal(json_array_size(list), 7);
    json_array_foreach(list, i, v) {
        const json_t *id = json_object_get(v, "question_id");
        const bool first = json_integer_value(json_object_get(v, "turn")) == 1;
        assert_string_equal(str(v, "model_1"), "model-a");
        assert_string_equal(str(v, "model_2"), "model-c");
        if (json_integer_value(id) == 101 || !first) { /* in both orders for model-a */
            assert_string_equal(str(v, "g1_winner"), "model_1");
            assert_string_equal(str(v, "g2_winner"), "model_1");
        } else if (json_integer_value(id) == 81) {
            assert_string_equal(str(v, "g1_winner"), "model_1");
            assert_string_equal(str(v, "g2_winner"), "model_2");
            assert_string_equal(str(v, "g1_user_prompt"), "pair Q Write {a} song. A model-a says 0 B model-c says 0");
            assert_string_equal(str(v, "g2_user_prompt"), "pair Q Write {a} song. A model-c says 0 B model-a says 0");
            assert_string_equal(str(v, "g2_judgment"), "[[A]]");
        } else if (json_integer_value(id) == 5) {
            assert_string_equal(str(v, "g1_winner"), "error");
        }
    }
    json_decref(list);
    runs(0, "--mode pairwise-all a.jsonl c.jsonl");
    assert_int_equal(server.n, 2 * 7);
    /* a baseline: the pairs with it, of which one is there already; model-b's first turns only */
    runs(0, "--mode pairwise-baseline --baseline model-a a.jsonl b.jsonl c.jsonl");
    assert_int_equal(server.n, 2 * 7 + 2 * 4);
    server_stop(&server);
}

static void second_game_fails(void *context, const struct request *r, struct reply *p) {
    prefers(context, r, p);
    if (strstr(r->user, "A model-c") && r->turn == 0) p->status = 422;
}

/* Half a pair is paid for: it waits in its file, and the next run asks for the other half alone. */
static void half_pairs(void **state) {
    (void)state;
    server_start(&server, second_game_fails, NULL);
    runs(2, "--mode pairwise-all --turns 1 --parallel 1 a.jsonl c.jsonl");
    assert_int_equal(server.n, 8);
    json_t *list = judgments("out/gpt-4_pair.jsonl"), *halves = judgments("out/gpt-4_pair.half.jsonl");
    assert_int_equal(json_array_size(list), 0);
    assert_int_equal(json_array_size(halves), 4);
    json_decref(list);
    json_decref(halves);
    runs(0, "--mode pairwise-all --turns 1 a.jsonl c.jsonl");
    assert_int_equal(server.n, 12);
    list = judgments("out/gpt-4_pair.jsonl");
    assert_int_equal(json_array_size(list), 4);
    json_decref(list);
    assert_false(there(in(dir, "out/gpt-4_pair.half.jsonl")));
    /* both halves of a pair that was not written yet: nobody is asked */
    char *text = NULL;
    size_t n;
    unlink(in(dir, "out/gpt-4_pair.jsonl"));
    put_text(in(dir, "out/gpt-4_pair.half.jsonl"),
             "{\"question_id\": 81, \"model_1\": \"model-a\", \"model_2\": \"model-c\", \"turn\": 1, \"game\": 1, "
             "\"judgment\": \"[[A]]\"}\n"
             "{\"question_id\": 81, \"model_1\": \"model-a\", \"model_2\": \"model-c\", \"turn\": 1, \"game\": 0, "
             "\"judgment\": \"[[C]]\"}\n");
    runs(0, "--mode pairwise-all --turns 1 --limit 1 a.jsonl c.jsonl");
    assert_int_equal(server.n, 12);
    text = get(in(dir, "out/gpt-4_pair.jsonl"), &n);
    assert_non_null(strstr(text, "\"g1_winner\": \"tie\", \"g2_winner\": \"model_2\""));
    free(text);
    server_stop(&server);
}

/* Halves wait for the run that asks for their pairs, whatever runs come between. */
static void halves_of_others(void **state) {
    (void)state;
    server_start(&server, second_game_fails, NULL);
    runs(2, "--mode pairwise-all --turns 1 a.jsonl c.jsonl");
    runs(2, "--mode pairwise-all --turns 1 b.jsonl c.jsonl");
    runs(0, "--mode pairwise-all --turns 1 b.jsonl c.jsonl");
    assert_int_equal(server.n, 8 + 8 + 4);
    assert_true(there(in(dir, "out/gpt-4_pair.half.jsonl")));
    runs(0, "--mode pairwise-all --turns 1 a.jsonl c.jsonl");
    assert_int_equal(server.n, 8 + 8 + 4 + 4);
    assert_false(there(in(dir, "out/gpt-4_pair.half.jsonl")));
    server_stop(&server);
}

/* ---- answers that are not those of the judgments ---- */

/* A judgment that is there is one of these answers, or nothing is judged: neither an old score taken for theirs, nor any
 * paid for twice. */
static void other_answers(void **state) {
    (void)state;
    server_start(&server, scores, NULL);
    runs(0, "--turns 1 a.jsonl");
    assert_int_equal(server.n, 4);
    answers("a.jsonl", "model-a", "other second turns");
    runs(0, "a.jsonl"); /* of which none is judged yet */
    assert_int_equal(server.n, 4 + 3);
    answers("a.jsonl", "model-a", "and others again");
    runs(2, "a.jsonl");
    assert_string_equal(errors, "mdm judge: out/gpt-4_single.jsonl: turn "
                                "2 of question 81 was judged with another answer or prompt of 'model-a' than is given "
                                "now: use another --out\n");
    runs(0, "--turns 1 a.jsonl");
    put_text(in(dir, "out/gpt-4_single.jsonl"), /* a file that does not tell what was asked */
             "{\"question_id\": 81, \"model\": \"model-a\", \"turn\": 1}\n");
    runs(0, "--turns 1 --limit 1 a.jsonl");
    assert_int_equal(server.n, 7);
    server_stop(&server);
}

static void other_answers_of_pairs(void **state) {
    (void)state;
    server_start(&server, second_game_fails, NULL);
    runs(2, "--mode pairwise-all --turns 1 a.jsonl c.jsonl");
    put_text(
        in(dir, "data/judge_prompts.jsonl"),
        "{\"name\": \"pair-v2\", \"system_prompt\": \"P\", \"prompt_template\": \"changed {question} {answer_a}\"}\n");
    runs(2, "--mode pairwise-all --turns 1 --limit 1 a.jsonl c.jsonl"); /* halves */
    assert_non_null(strstr(errors, "out/gpt-4_pair.half.jsonl: turn 1 of question 81 was judged with another"));
    put_text(in(dir, "data/judge_prompts.jsonl"), prompts);
    runs(0, "--mode pairwise-all --turns 1 a.jsonl c.jsonl");
    assert_int_equal(server.n, 8 + 4);
    /* the same pairs as one who names model-c first has them */
    static const char line[] = "{\"question_id\": 81, \"model_1\": \"model-c\", \"model_2\": \"model-a\", \"turn\": 1, "
                               "\"g1_user_prompt\": \"pair Q Write {a} song. A model-c says 0 B model-a says 0\", "
                               "\"g2_user_prompt\": \"pair Q Write {a} song. A %s says 0 B model-c says 0\"}\n";
    for (int same = 0; same < 2; same++) {
        char text[sizeof line + 16];
        snprintf(text, sizeof text, line, same ? "model-a" : "another");
        put_text(in(dir, "out/gpt-4_pair.jsonl"), text);
        runs(same ? 0 : 2, "--mode pairwise-all --turns 1 --limit 1 a.jsonl c.jsonl");
    }
    assert_int_equal(server.n, 8 + 4);
    server_stop(&server);
}

/* ---- what is wrong with a file ---- */

static void bad_input(void **state) {
    (void)state;
    server_start(&server, scores, NULL);
    refuses("", "no answers given");
    refuses("nowhere.jsonl", "nowhere.jsonl");
    refuses("--mode pairwise-all a.jsonl", "pairs need the answers of two models");
    refuses("--mode pairwise-baseline a.jsonl b.jsonl", "needs --baseline");
    refuses("--mode pairwise-baseline --baseline x a.jsonl b.jsonl", "no answers of the baseline 'x'");
    refuses("--baseline x a.jsonl", "--baseline is for");
    refuses("a.jsonl a.jsonl", "model 'model-a' has answered already");
    static const struct {
        const char *file, *text, *says;
    } cases[] = {
        {"a.jsonl", "{\"question_id\": 81}\n", "a.jsonl line 1: \"model_id\""},
        {"a.jsonl", "{\"question_id\": 81, \"model_id\": \"m\", \"choices\": []}\n", "a.jsonl line 1: \"choices\""},
        {"a.jsonl", "{\"question_id\": 81, \"model_id\": \"m\", \"choices\": [{\"turns\": [7]}]}\n",
         "a.jsonl line 1: choice 1: \"turns\" must hold strings"},
        {"a.jsonl", "{\"question_id\": 81, \"model_id\": \"m\", \"choices\": [{\"turns\": [\"x\"]}]}\n",
         "a.jsonl: no answer to question 101"},
        {"a.jsonl", "\n{\"question_id\": 81, \n", "a.jsonl line 2: bad JSON"},
        {"data/question.jsonl", "{\"question_id\": 81, \"category\": \"a\", \"turns\": []}\n",
         "question.jsonl line 1: \"turns\" must be an array of one or two"},
        {"data/question.jsonl", "{\"category\": \"a\", \"turns\": [\"x\"]}\n",
         "question.jsonl line 1: \"question_id\""},
        {"data/question.jsonl",
         "{\"question_id\": \"" ID_60 "\", \"category\": \"a\", \"turns\": [\"x\"]}\n{\"question_id\": \"" ID_60
         "y\", \"category\": \"a\", \"turns\": [\"x\"]}\n",
         "question.jsonl line 2: \"question_id\" must be a number, or a string of 1 to 60 bytes"},
        {"data/question.jsonl", "{\"question_id\": \"\", \"category\": \"a\", \"turns\": [\"x\"]}\n",
         "question.jsonl line 1: \"question_id\" must be"},
        {"data/question.jsonl", "{\"question_id\": \"a\\u0000b\", \"category\": \"a\", \"turns\": [\"x\"]}\n",
         "question.jsonl line 1: \"question_id\" must be"},
        {"data/question.jsonl", "7\n", "question.jsonl line 1: expected an object"},
        {"data/question.jsonl", "", "question.jsonl: no questions"},
        {"data/judge_prompts.jsonl", "{\"name\": \"pair-v2\", \"system_prompt\": \"\", \"prompt_template\": \"\"}\n",
         "prompts have no 'single-v1', which question 81 needs"},
        {"data/judge_prompts.jsonl",
         "{\"name\": \"single-v1\", \"system_prompt\": \"\", \"prompt_template\": \"{foo}\"}\n",
         "judge_prompts.jsonl line 1: prompt single-v1 asks for {foo}, which is not known"},
        {"data/judge_prompts.jsonl",
         "{\"name\": \"single-v1\", \"system_prompt\": \"\", \"prompt_template\": \"a } b\"}\n",
         "has a brace without its partner"},
        {"data/judge_prompts.jsonl",
         "{\"name\": \"single-v1\", \"system_prompt\": \"\", \"prompt_template\": \"{a\"}\n",
         "has a brace without its partner"},
        {"data/reference_answer/gpt-4.jsonl", "", "asks for {ref_answer_1}, which question 101 does not have"},
        {"out/gpt-4_single.jsonl", "{\"question_id\": 81, \"turn\": 3, \"model\": \"a\"}\n",
         "gpt-4_single.jsonl line 1: \"turn\""},
        {"out/gpt-4_single.jsonl", "{\"question_id\": 81, \"model\": 1}\nx\n{}\n",
         "gpt-4_single.jsonl line 1: \"turn\" is missing"},
        {"out/gpt-4_single.jsonl", "{\"question_id\": \"" ID_60 "y\", \"turn\": 1, \"model\": \"a\"}\n",
         "gpt-4_single.jsonl line 1: \"question_id\" must be"},
        {"out/gpt-4_single.jsonl", "oops\n", "gpt-4_single.jsonl line 1: bad JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clear_out(NULL);
        mkdir(in(dir, "out"), 0777);
        put_text(in(dir, cases[i].file), cases[i].text);
        refuses("a.jsonl", cases[i].says);
    }
    clear_out(NULL);
    unlink(in(dir, "data/reference_answer/gpt-4.jsonl"));
    refuses("a.jsonl", "which question 101 does not have");
    server_stop(&server);
    unsetenv("OPENAI_API_KEY");
    assert_int_equal(finish(start("--data data --out out a.jsonl")), 2); /* the real server would cost money */
    assert_non_null(strstr(errors, "set OPENAI_API_KEY"));
    setenv("OPENAI_API_KEY", KEY, 1);
}

static void verdicts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double score;
        const char *winner;
    } cases[] = {
        {"Rating: [[7]]", 7, "error"},
        {"[[7.5]] and [[8]]", 7.5, "error"},
        {"[3] then [[5]]", 5, "error"},
        {"[4]", 4, "error"},
        {"[[x]] [6]", 6, "error"},
        {"[[ 7 ]]", -1, "error"},
        {"7", -1, "error"},
        {"", -1, "error"},
        {"[[-3]]", -1, "error"},
        {"[[10]]", 10, "error"},
        {"[[5.]]", 5, "error"},
        {"[[.5]]", -1, "error"},
        {"[[A]]", -1, "A"},
        {"[[B]] is better", -1, "B"},
        {"[[C]]", -1, "tie"},
        {"[[B]] no, [[A]]", -1, "A"},
        {"[A]", -1, "error"},
        {"[[[9]]]", 9, "error"},
        {"[[5]", 5, "error"},
        {"see [12]: [[2]]", 2, "error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (mt_score(cases[i].text) != cases[i].score) fail_msg("'%s': %g", cases[i].text, mt_score(cases[i].text));
        assert_string_equal(mt_winner(cases[i].text), cases[i].winner);
    }
}

/* ---- memory, and the published files ---- */

static int put_together(void) {
    struct mtbench b;
    const char *prompt, *system;
    char *user;
    if (mtbench_open(&b, in(dir, "data/question.jsonl"), in(dir, "data/judge_prompts.jsonl"),
                     in(dir, "data/reference_answer/gpt-4.jsonl"), 0, &err) < 0)
        return -1;
    int r = mtbench_answers(&b, in(dir, "a.jsonl"), &err);
    if (r == 0) r = mtbench_answers(&b, in(dir, "c.jsonl"), &err);
    if (r == 0) r = mtbench_ask(&b, &(struct mt_case){1, 2, {0, 1}}, &prompt, &system, &user, &err);
    if (r == 0) mem_free(user);
    mtbench_close(&b);
    return r;
}

static int tell(void) {
    struct judge_table t;
    char path[4096];
    snprintf(path, sizeof path, "%s/one.jsonl", dir);
    if (judge_table_open(&t, in(dir, "data"), (char *[]){path}, 1, &err) < 0) return -1;
    judge_table_close(&t);
    return 0;
}

static void memory(void **state) {
    (void)state;
    put_text(in(dir, "one.jsonl"),
             "{\"question_id\": 81, \"model\": \"a\", \"judge\": [\"j\"], \"turn\": 1, \"score\": 1}\n");
    int (*const steps[])(void) = {put_together, tell};
    for (int k = 0; k < 2; k++)
        for (long n = 1;; n++) {
            err.msg[0] = 0;
            fault_set(FAULT_ALLOC, n, false);
            const int r = steps[k]();
            const bool reached = fault_count(FAULT_ALLOC) >= n;
            fault_set(FAULT_ALLOC, 0, false);
            assert_int_equal(r < 0, reached);
            assert_int_equal(!err.msg[0], !reached);
            assert_int_equal(mem_in_use(), 0);
            if (!reached) break;
        }
}

/* Every one of the 160 cases can be put together from the published files. */
static void published(void **state) {
    (void)state;
    const char *q = test_data("data/mt_bench/question.jsonl"), *p = test_data("data/mt_bench/judge_prompts.jsonl");
    const char *r = test_data("data/mt_bench/reference_answer/gpt-4.jsonl");
    struct mtbench b;
    if (!q || !p || !r) skip();
    if (mtbench_open(&b, q, p, r, 0, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(b.n, 80);
    FILE *f = fopen(in(dir, "m.jsonl"), "w");
    for (int64_t i = 0; i < b.n; i++)
        fprintf(f, "{\"question_id\": %d, \"model_id\": \"m\", \"choices\": [{\"turns\": [\"one\", \"two\"]}]}\n",
                (int)json_integer_value(b.questions[i].id));
    fclose(f);
    if (mtbench_answers(&b, in(dir, "m.jsonl"), &err) < 0) fail_msg("%s", err.msg);
    int with_references = 0;
    for (int64_t i = 0; i < b.n; i++)
        for (int turn = 1; turn <= 2; turn++)
            for (int pair = 0; pair < 2; pair++) {
                const char *prompt, *system;
                char *user;
                const struct mt_case c = {i, turn, {0, pair ? 0 : -1}};
                if (mtbench_ask(&b, &c, &prompt, &system, &user, &err) < 0) fail_msg("%s", err.msg);
                assert_non_null(strstr(user, b.questions[i].turns[turn - 1]));
                assert_non_null(strstr(user, turn == 1 ? "one" : "two"));
                if (strstr(prompt, "math")) {
                    with_references++;
                    assert_non_null(strstr(user, b.questions[i].references[turn - 1]));
                }
                mem_free(user);
            }
    assert_int_equal(with_references, 4 * 30);
    mtbench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(single, clear_out),        cmocka_unit_test_setup(torn_line, clear_out),
        cmocka_unit_test_setup(interrupted, clear_out),   cmocka_unit_test_setup(killed, clear_out),
        cmocka_unit_test_setup(missing, clear_out),       cmocka_unit_test_setup(pairs, clear_out),
        cmocka_unit_test_setup(half_pairs, clear_out),    cmocka_unit_test_setup(halves_of_others, clear_out),
        cmocka_unit_test_setup(bad_input, clear_out),     cmocka_unit_test(verdicts),
        cmocka_unit_test_setup(memory, clear_out),        cmocka_unit_test_setup(published, clear_out),
        cmocka_unit_test_setup(other_answers, clear_out), cmocka_unit_test_setup(other_answers_of_pairs, clear_out),
        cmocka_unit_test_setup(told, clear_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* judge_help: questions, prompts and answers in FastChat's form, and the program run on them, for the tests of mdm judge. */
#ifndef MDM_TESTS_JUDGE_HELP_H
#define MDM_TESTS_JUDGE_HELP_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <sys/wait.h>

#include "data_help.h"

#define KEY "sk-very-secret-0123456789"
#define ID_60 "012345678901234567890123456789012345678901234567890123456789" /* the longest that an id may be */
enum { QUESTIONS = 4, SECONDS = 200, WORDS = 32 };

static char *dir, program[4096];
static char *out, *errors; /* of the last run of the program */

/* ---- files ---- */

static const char questions[] =
    "{\"question_id\": 81, \"category\": \"writing\", \"turns\": [\"Write {a} song.\", \"Make it {{shorter}}.\"]}\n"
    "{\"question_id\": 101, \"category\": \"math\", \"turns\": [\"What is 2+2?\", \"And 3+3?\"]}\n"
    "{\"question_id\": \"c-1\", \"category\": \"coding\", \"turns\": [\"Sort three numbers.\", \"In place.\"]}\n"
    "{\"question_id\": 5, \"category\": \"stem\", \"turns\": [\"Why is the sky blue?\"]}\n";
static const char prompts[] =
    "{\"name\": \"single-v1\", \"system_prompt\": \"S\", \"prompt_template\": \"one {{x}} Q {question} A {answer}\"}\n"
    "{\"name\": \"single-v1-multi-turn\", \"system_prompt\": \"S\", \"prompt_template\": \"two Q {question_1} A "
    "{answer_1} Q "
    "{question_2} A {answer_2}\"}\n"
    "{\"name\": \"single-math-v1\", \"system_prompt\": \"SM\", \"prompt_template\": \"one Q {question} R "
    "{ref_answer_1} A "
    "{answer}\"}\n"
    "{\"name\": \"single-math-v1-multi-turn\", \"system_prompt\": \"SM\", \"prompt_template\": \"two R {ref_answer_1} "
    "R "
    "{ref_answer_2} A {answer_1} A {answer_2}\"}\n"
    "{\"name\": \"pair-v2\", \"system_prompt\": \"P\", \"prompt_template\": \"pair Q {question} A {answer_a} B "
    "{answer_b}\"}\n"
    "{\"name\": \"pair-v2-multi-turn\", \"system_prompt\": \"P\", \"prompt_template\": \"pair two A {answer_a_1} "
    "{answer_a_2} B "
    "{answer_b_1} {answer_b_2}\"}\n"
    "{\"name\": \"pair-math-v1\", \"system_prompt\": \"P\", \"prompt_template\": \"pair R {ref_answer_1} A {answer_a} "
    "B "
    "{answer_b}\"}\n"
    "{\"name\": \"pair-math-v1-multi-turn\", \"system_prompt\": \"P\", \"prompt_template\": \"pair two R "
    "{ref_answer_2} A "
    "{answer_a_1} {answer_a_2} B {answer_b_1} {answer_b_2}\"}\n"
    "{\"name\": \"other\", \"note\": \"unknown prompts are no error\"}\n";
static const char references[] =
    "{\"question_id\": 101, \"model_id\": \"gpt-4\", \"choices\": [{\"index\": 0, \"turns\": [\"4\", \"6\"]}]}\n"
    "{\"question_id\": \"c-1\", \"model_id\": \"gpt-4\", \"choices\": [{\"index\": 0, \"turns\": [\"sort()\", "
    "\"swap()\"]}]}\n"
    "{\"question_id\": 999, \"model_id\": \"gpt-4\", \"choices\": [{\"index\": 0, \"turns\": [\"of no question "
    "here\"]}]}\n";

static inline void answers(const char *file, const char *model, const char *second) {
    static const char *const ids[QUESTIONS] = {"81", "101", "\"c-1\"", "5"};
    FILE *f = fopen(in(dir, file), "w");
    assert_non_null(f);
    for (int i = 0; i < QUESTIONS; i++)
        fprintf(f,
                "{\"question_id\": %s, \"answer_id\": \"x%d\", \"model_id\": \"%s\", \"choices\": [{\"index\": 0, "
                "\"turns\": [\"%s says %d\", \"%s\"]}], \"tstamp\": 1.5}\n",
                ids[i], i, model, model, i, second);
    assert_int_equal(fclose(f), 0);
}

static inline int clear_out(void **state) {
    (void)state;
    static char old[4096];
    snprintf(old, sizeof old, "%s/out", dir);
    nftw(old, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
    put_text(in(dir, "data/question.jsonl"), questions);
    put_text(in(dir, "data/judge_prompts.jsonl"), prompts);
    put_text(in(dir, "data/reference_answer/gpt-4.jsonl"), references);
    answers("a.jsonl", "model-a", "more of it");
    answers("b.jsonl", "model-b", "");
    answers("c.jsonl", "model-c", "second of c");
    return 0;
}

/* ---- the program ---- */

static inline pid_t start(const char *line) {
    static char text[8192], *words[WORDS + 1];
    snprintf(text, sizeof text, "mdm judge %s", line);
    int n = 0;
    for (char *w = strtok(text, " "); w && n < WORDS; w = strtok(NULL, " ")) words[n++] = w;
    words[n] = NULL;
    const pid_t child = fork();
    if (child == 0) {
        if (chdir(dir) < 0 || !freopen("stdout", "w", stdout) || !freopen("stderr", "w", stderr)) _exit(99);
        execv(program, words);
        _exit(99);
    }
    return child;
}

static inline int finish(pid_t child) {
    int status;
    size_t n;
    assert_int_equal(waitpid(child, &status, 0), child);
    free(out);
    free(errors);
    out = get(in(dir, "stdout"), &n);
    errors = get(in(dir, "stderr"), &n);
    assert_null(strstr(out, "secret"));
    assert_null(strstr(errors, "secret"));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int setup(void **state) {
    (void)state;
    char *slash;
    alarm(SECONDS);
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 16);
    assert_true(n > 0);
    program[n] = 0; /* BUILD/tests/unit/test_… → BUILD/mdm */
    for (int i = 0; i < 3 && (slash = strrchr(program, '/')); i++) *slash = 0;
    strcat(program, "/mdm");
    setenv("no_proxy", "127.0.0.1", 1);
    setenv("OPENAI_API_KEY", KEY, 1);
    dir = scratch_fast();
    mkdir(in(dir, "data"), 0777);
    mkdir(in(dir, "data/reference_answer"), 0777);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    free(out);
    free(errors);
    return 0;
}

#endif

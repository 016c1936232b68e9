/* cmd_judge: `mdm judge` and `mdm judge show`: options, and what is said when judging ends. The work is eval/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "eval/judge.h"
#include "eval/judge_show.h"

static const char own_base[] = "https://api.openai.com/v1";

static int show(int argc, char **argv);
static const struct command verb_show = {
    "judge show", "tables of judgments: means per model, turn and category; wins, ties and losses", "FILE|DIR...",
    "mdm judge show judged --data mt_bench --out judged\n"
    "mdm judge show judged/gpt-4_pair.jsonl",
    show};

/* ---- judge ---- */

struct judge_args {
    const char *data, *references;
    int64_t limit;
    int mode;
    struct judge_settings s;
};

/* The reference answers of the judge itself, else those of gpt-4, which come with MT-Bench; none is fine too. */
static int find_references(char out[FILE_PATH_MAX], const struct judge_args *a, bool *found, struct err *err) {
    char name[512];
    *found = true;
    if (a->references) {
        snprintf(out, FILE_PATH_MAX, "%s", a->references);
        return 0;
    }
    snprintf(name, sizeof name, "reference_answer/%.400s.jsonl", a->s.api.model);
    if (file_join(out, a->data, name, err) < 0) return -1;
    if (file_exists(out)) return 0;
    if (file_join(out, a->data, "reference_answer/gpt-4.jsonl", err) < 0) return -1;
    *found = file_exists(out);
    return 0;
}

static int open_data(struct mtbench *b, const struct judge_args *a, char **files, int n, struct err *err) {
    char questions[FILE_PATH_MAX], prompts[FILE_PATH_MAX], references[FILE_PATH_MAX];
    bool found;
    if (file_join(questions, a->data, "question.jsonl", err) < 0 ||
        file_join(prompts, a->data, "judge_prompts.jsonl", err) < 0 ||
        find_references(references, a, &found, err) < 0 ||
        mtbench_open(b, questions, prompts, found ? references : NULL, a->limit, err) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        if (mtbench_answers(b, files[i], err) == 0) continue;
        mtbench_close(b);
        return -1;
    }
    return 0;
}

static int ended(const struct judge_result *r, int turn, struct err *err) {
    const struct chatapi_result *api = &r->api;
    const int64_t have = r->wanted - r->left;
    if (r->cut > 0) progress_say(NULL, "a line that was torn when an earlier run was interrupted was cut off");
    if (r->first_turn_only > 0 && turn != 1)
        progress_say(NULL, "models without second turns, judged by their first: %lld", (long long)r->first_turn_only);
    if (api->requests > 0)
        progress_say(NULL, "%lld request%s; %lld + %lld tokens", (long long)api->requests, plural(api->requests),
                     (long long)api->prompt_tokens, (long long)api->answer_tokens);
    if (api->stopped && r->left > 0) {
        if (!progress_quiet || *api->trouble)
            fprintf(stderr, "mdm judge: stopped; %lld of %lld judgments are in %s; the same command goes on%s%s\n",
                    (long long)have, (long long)r->wanted, r->file,
                    *api->trouble ? "; the last request failed with: " : "", api->trouble);
        return 128 + stop_signal();
    }
    if (r->left > 0) {
        err_set(err,
                "%lld of %lld judgments are missing; the same command asks for them again; the first failed with: %s",
                (long long)r->left, (long long)r->wanted, api->why);
        return cmd_fail("judge", err);
    }
    printf("%s: %lld judgment%s, %lld of them new\n", r->file, (long long)r->wanted, plural(r->wanted),
           (long long)(r->wanted - r->there));
    return 0;
}

static int check(const struct judge_args *a, int noperands, struct err *err) {
    if (noperands == 0) return err_set(err, "no answers given: expected files of model answers");
    if (a->s.mode == JUDGE_BASELINE && !a->s.baseline)
        return err_set(err, "--mode pairwise-baseline needs --baseline MODEL");
    if (a->s.mode != JUDGE_BASELINE && a->s.baseline) return err_set(err, "--baseline is for --mode pairwise-baseline");
    if (!strcmp(a->s.api.base, own_base) && !a->s.api.key)
        return err_set(err, "%s wants a key: set OPENAI_API_KEY, or name another server with --api-base", own_base);
    return 0;
}

static int judge(int argc, char **argv) {
    struct err err = {{0}};
    struct judge_args a = {.s = {.api = {.base = own_base,
                                         .model = "gpt-4",
                                         .parallel = 4,
                                         .tries = 16,
                                         .most_tokens = 2048,
                                         .pause = 10,
                                         .timeout = 300}}};
    struct judge_result result;
    struct mtbench b;
    int n, status;
    const struct opt opts[] = {
        {"data", OPT_STR, &a.data, "DIR", "folder of question.jsonl, judge_prompts.jsonl, reference_answer/",
         .required = true},
        {"out", OPT_STR, &a.s.out, "DIR", "folder of the judgments: JUDGE_single.jsonl or JUDGE_pair.jsonl",
         .required = true},
        {"mode", OPT_CHOICE, &a.mode, "single|pairwise-baseline|pairwise-all", "what is judged"},
        {"baseline", OPT_STR, &a.s.baseline, "MODEL", "pairwise-baseline: the model that each other one meets"},
        {"turns", OPT_CHOICE, &a.s.turn, "both|1|2", "which turns are judged"},
        {"limit", OPT_INT, &a.limit, "N", "the first N questions only; 0: all", .min = 0, .max = 1e9},
        {"judge", OPT_STR, &a.s.api.model, "MODEL", "the judge's name at its server"},
        {"api-base", OPT_STR, &a.s.api.base, "URL", "the server; its key is read from OPENAI_API_KEY"},
        {"references", OPT_STR, &a.references, "FILE",
         "reference answers (default: reference_answer/JUDGE.jsonl, else gpt-4.jsonl there)"},
        {"parallel", OPT_INT, &a.s.api.parallel, "N", "requests at a time", .min = 1, .max = 256},
        {"tries", OPT_INT, &a.s.api.tries, "N", "tries for a request", .min = 1, .max = 1000},
        {"pause", OPT_REAL, &a.s.api.pause, "S", "seconds after the first failure; doubles up to 12 times that",
         .min = 0.001, .max = 1e4},
        {"timeout", OPT_REAL, &a.s.api.timeout, "S", "seconds for one request", .min = 0.1, .max = 1e5},
        {0}};
    if (!cmd_options(&cmd_judge, opts, argc, argv, &n, NULL, &status)) return status;
    const char *key = getenv("OPENAI_API_KEY");
    a.s.api.key = key && *key ? key : NULL;
    a.s.mode = (enum judge_mode)a.mode;
    if (check(&a, n, &err) < 0 || open_data(&b, &a, argv + 1, n, &err) < 0) return cmd_fail("judge", &err);
    stop_install();
    if (judge_run(&result, &b, &a.s, &err) == 0) {
        status = ended(&result, a.s.turn, &err);
    } else {
        if (result.api.requests > 0 && result.wanted > result.left)
            err_prefix(&err, "%lld of %lld judgments are in %s", (long long)(result.wanted - result.left),
                       (long long)result.wanted, result.file);
        status = cmd_fail("judge", &err);
    }
    mtbench_close(&b);
    return status;
}

/* ---- show ---- */

static int draw(const struct judge_table *t, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    if (judge_table_drawable(t, err) < 0 || file_mkdirs(folder, err) < 0 ||
        file_join(path, folder, "radar.svg", err) < 0 || judge_table_draw(t, path, err) < 0 ||
        file_join(path, folder, "radar.png", err) < 0)
        return -1;
    return judge_table_draw(t, path, err);
}

static int show(int argc, char **argv) {
    struct err err = {{0}};
    const char *data = NULL, *out = NULL;
    struct judge_table t;
    int n, status;
    const struct opt opts[] = {
        {"data", OPT_STR, &data, "DIR", "folder of question.jsonl: means per category too"},
        {"out", OPT_STR, &out, "DIR", "folder for radar.svg and radar.png of the categories; needs --data"},
        {0}};
    if (!cmd_options(&verb_show, opts, argc, argv, &n, NULL, &status)) return status;
    int r = n == 0         ? err_set(&err, "no judgments given: expected files that 'mdm judge' wrote, or its folder")
            : out && !data ? err_set(&err, "--out draws categories, which --data tells")
                           : 0;
    if (r < 0 || judge_table_open(&t, data, argv + 1, n, &err) < 0) return cmd_fail("judge show", &err);
    judge_table_print(stdout, &t);
    if (out) r = draw(&t, out, &err);
    judge_table_close(&t);
    return r < 0 ? cmd_fail("judge show", &err) : 0;
}

/* `judge` is a command of its own and has a verb besides; pages and completion (--help=…) are asked of both. */
static int run(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "show")) return show(argc - 1, argv + 1);
    if (argc > 1 && !strncmp(argv[1], "--help=", 7)) show(2, (char *[]){"show", argv[1], NULL});
    return judge(argc, argv);
}

const struct command cmd_judge = {
    "judge", "score answers to MT-Bench with a language model, or show scores", "[show] ANSWERS...",
    "export OPENAI_API_KEY=...\n"
    "mdm judge --data mt_bench --out judged answers/mdm.jsonl answers/arm.jsonl\n"
    "mdm judge --data mt_bench --out judged --mode pairwise-all answers/mdm.jsonl answers/arm.jsonl\n"
    "mdm judge --api-base http://127.0.0.1:8000/v1 --judge llama --data mt_bench --out judged answers/mdm.jsonl\n"
    "mdm judge show --help",
    run};

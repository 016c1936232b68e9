/* cmd_plot: options of the pictures of runs, of evaluations and of judgments. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "eval/judge_show.h"
#include "scaling/plot.h"

/* What a folder holds; one picture shows one of these. */
enum kind { TRAINING, EVALUATION, JUDGMENTS, KINDS };
static const char *const kinds[] = {"a training", "an evaluation", "a folder of judgments"};
enum axis { AXIS_STEPS, AXIS_TOKENS, AXIS_FLOPS, AXIS_CFG, AXIS_TASKS };

struct plot_args {
    const char *out, *metric, *data;
    int axis;
    bool log_x;
    int64_t smooth;
};

static bool holds(const char *folder, const char *name) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    return file_join(path, folder, name, &ignored) == 0 && file_exists(path);
}

static int look(enum kind *kind, char **folders, int n, struct err *err) {
    for (int i = 0; i < n; i++) {
        if (!file_is_dir(folders[i]))
            return err_set(err, "'%s' is not a folder: expected one of 'mdm pretrain', 'mdm eval' or 'mdm judge'",
                           folders[i]);
        const enum kind found = holds(folders[i], "results.json")  ? EVALUATION
                                : holds(folders[i], "metrics.csv") ? TRAINING
                                : judge_folder(folders[i])         ? JUDGMENTS
                                                                   : KINDS;
        if (found == KINDS)
            return err_set(err,
                           "'%s' has neither metrics.csv, as a training has, nor results.json, as an evaluation, nor "
                           "JUDGE_single.jsonl: expected a folder of 'mdm pretrain', 'mdm eval' or 'mdm judge'",
                           folders[i]);
        if (i > 0 && found != *kind)
            return err_set(err, "'%s' is %s and '%s' %s: draw them apart", folders[0], kinds[*kind], folders[i],
                           kinds[found]);
        *kind = found;
    }
    return 0;
}

/* Options that not every picture has. */
static int check_given(const struct opt_given *given, enum kind kind, const char *folder, struct err *err) {
    static const struct {
        const char *option, *whose;
        bool fits[KINDS];
    } some[] = {{"x", "trainings and evaluations", {true, true, false}},
                {"log", "trainings and evaluations", {true, true, false}},
                {"smooth", "trainings", {true, false, false}},
                {"metric", "evaluations", {false, true, false}},
                {"data", "judgments", {false, false, true}}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        if (opt_given(given, some[i].option) && !some[i].fits[kind])
            return err_set(err, "--%s is for %s, and '%s' is %s", some[i].option, some[i].whose, folder, kinds[kind]);
    return 0;
}

static int draw_runs(const struct plot_args *a, char **runs, int n, struct err *err) {
    const struct plot_settings s = {a->out, a->axis < 0 ? PLOT_STEPS : (enum plot_axis)a->axis, a->smooth, a->log_x};
    if (a->axis > AXIS_FLOPS)
        return err_set(err, "--x cfg, --x tasks are for evaluations, and '%s' is %s", runs[0], kinds[TRAINING]);
    return plot_losses(&s, runs, n, err);
}

static int draw_evaluations(const struct plot_args *a, char **outs, int n, struct err *err) {
    static const enum plot_eval_axis axes[] = {
        [AXIS_STEPS] = PLOT_SAMPLING_STEPS, [AXIS_CFG] = PLOT_CFG, [AXIS_TASKS] = PLOT_TASKS};
    if (a->axis == AXIS_TOKENS || a->axis == AXIS_FLOPS)
        return err_set(err, "--x tokens, --x flops are for trainings, and '%s' is %s", outs[0], kinds[EVALUATION]);
    const struct plot_eval_settings s = {a->out, a->axis < 0 ? PLOT_EITHER : axes[a->axis], a->metric, a->log_x};
    return plot_results(&s, outs, n, err);
}

static int draw_judgments(const struct plot_args *a, char **folders, int n, struct err *err) {
    struct judge_table t;
    if (!a->data)
        return err_set(err, "'%s' is %s: --data DIR, the folder of question.jsonl, tells the categories", folders[0],
                       kinds[JUDGMENTS]);
    if (judge_table_open(&t, a->data, folders, n, err) < 0) return -1;
    const int r = judge_table_draw(&t, a->out, err);
    judge_table_close(&t);
    return r;
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct plot_args a = {.axis = -1, .metric = "acc"};
    struct opt_given given;
    int n, status;
    enum kind kind = KINDS;
    static int (*const draw[])(const struct plot_args *a, char **folders, int n, struct err *err) = {
        [TRAINING] = draw_runs, [EVALUATION] = draw_evaluations, [JUDGMENTS] = draw_judgments};
    const struct opt opts[] = {
        {"out", OPT_STR, &a.out, "FILE", "picture to write: .svg or .png", .required = true},
        {"x", OPT_CHOICE, &a.axis, "steps|tokens|flops|cfg|tasks",
         "horizontal axis: of trainings steps (also when not given), tokens, flops; of evaluations tasks (bars), or "
         "the sampling steps or the guidance in which they differ; not given: what they differ in"},
        {"metric", OPT_STR, &a.metric, "NAME", "of evaluations: acc, acc_norm, bleu, perplexity, seconds"},
        {"log", OPT_FLAG, &a.log_x, NULL, "logarithmic horizontal axis"},
        {"smooth", OPT_INT, &a.smooth, "N", "steps averaged into a point; 0: about 200 points a curve", .min = 0,
         .max = 1e9},
        {"data", OPT_STR, &a.data, "DIR", "of judgments: folder of question.jsonl, which tells the categories"},
        {0}};
    if (!cmd_options(&cmd_plot, opts, argc, argv, &n, &given, &status)) return status;
    if (n == 0) {
        err_set(&err, "no run named: expected folders made by 'mdm pretrain', 'mdm eval' or 'mdm judge'");
        return cmd_fail("plot", &err);
    }
    if (look(&kind, argv + 1, n, &err) < 0 || check_given(&given, kind, argv[1], &err) < 0 ||
        draw[kind](&a, argv + 1, n, &err) < 0)
        return cmd_fail("plot", &err);
    progress_say(NULL, "wrote %s", a.out);
    return 0;
}

const struct command cmd_plot = {
    "plot",
    "draw the loss curves of runs, or results of evaluations or of judges",
    "RUN|OUT...",
    "mdm plot run --out loss.svg\nmdm plot run-a run-b --x flops --log --out compare.png\n"
    "mdm plot results-mdm results-arm --out tasks.svg\nmdm plot reverse-*steps --x steps --log --out steps.svg\n"
    "mdm plot judged --data mt_bench --out radar.svg",
    run,
    .details =
        "Trainings: training and validation loss. Evaluations (folders of 'mdm eval'): a metric with its standard\n"
        "errors, as bars over tasks and folders, or as lines.\n"
        "Judgments (folders of 'mdm judge'): mean scores per category of MT-Bench, a model a colour."};

/* cmd_plot: options of the pictures of runs and of evaluations. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "scaling/plot.h"

enum axis { AXIS_STEPS, AXIS_TOKENS, AXIS_FLOPS, AXIS_CFG, AXIS_TASKS };

struct plot_args {
    const char *out, *metric;
    int axis;
    bool log_x;
    int64_t smooth;
};

static bool holds(const char *folder, const char *name) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    return file_join(path, folder, name, &ignored) == 0 && file_exists(path);
}

/* Are all folders evaluations, or all trainings? One picture shows one of the two. */
static int look(bool *evaluations, char **folders, int n, struct err *err) {
    for (int i = 0; i < n; i++) {
        const bool evaluation = holds(folders[i], "results.json");
        if (!file_is_dir(folders[i]))
            return err_set(err, "'%s' is not a folder: expected one of 'mdm pretrain' or 'mdm eval'", folders[i]);
        if (!evaluation && !holds(folders[i], "metrics.csv"))
            return err_set(err,
                           "'%s' has neither metrics.csv, as a training has, nor results.json, as an evaluation: "
                           "expected a folder of 'mdm pretrain' or 'mdm eval'",
                           folders[i]);
        if (i > 0 && evaluation != *evaluations)
            return err_set(err, "of '%s' and '%s' one is a training and one an evaluation: draw them apart", folders[0],
                           folders[i]);
        *evaluations = evaluation;
    }
    return 0;
}

static int draw_runs(const struct plot_args *a, const struct opt_given *given, char **runs, int n, struct err *err) {
    const struct plot_settings s = {a->out, a->axis < 0 ? PLOT_STEPS : (enum plot_axis)a->axis, a->smooth, a->log_x};
    if (a->axis > AXIS_FLOPS || opt_given(given, "metric"))
        return err_set(err, "--%s is for evaluations, and %s has no results.json",
                       a->axis > AXIS_FLOPS ? "x cfg, --x tasks" : "metric", runs[0]);
    return plot_losses(&s, runs, n, err);
}

static int draw_evaluations(const struct plot_args *a, const struct opt_given *given, char **outs, int n,
                            struct err *err) {
    static const enum plot_eval_axis axes[] = {
        [AXIS_STEPS] = PLOT_SAMPLING_STEPS, [AXIS_CFG] = PLOT_CFG, [AXIS_TASKS] = PLOT_TASKS};
    const bool of_runs = a->axis == AXIS_TOKENS || a->axis == AXIS_FLOPS;
    if (of_runs || opt_given(given, "smooth"))
        return err_set(err, "--%s is for trainings, and %s is an evaluation",
                       of_runs ? "x tokens, --x flops" : "smooth", outs[0]);
    const struct plot_eval_settings s = {a->out, a->axis < 0 ? PLOT_EITHER : axes[a->axis], a->metric, a->log_x};
    return plot_results(&s, outs, n, err);
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct plot_args a = {.axis = -1, .metric = "acc"};
    struct opt_given given;
    int n, status;
    const struct opt opts[] = {
        {"out", OPT_STR, &a.out, "FILE", "picture to write: .svg or .png", .required = true},
        {"x", OPT_CHOICE, &a.axis, "steps|tokens|flops|cfg|tasks",
         "horizontal axis: of trainings steps (also when not given), tokens, flops; of evaluations tasks (bars), or "
         "the sampling steps or the guidance in which they differ; not given: what they differ in"},
        {"metric", OPT_STR, &a.metric, "NAME", "of evaluations: acc, acc_norm, bleu, perplexity, seconds"},
        {"log", OPT_FLAG, &a.log_x, NULL, "logarithmic horizontal axis"},
        {"smooth", OPT_INT, &a.smooth, "N", "steps averaged into a point; 0: about 200 points a curve", .min = 0,
         .max = 1e9},
        {0}};
    if (!cmd_options(&cmd_plot, opts, argc, argv, &n, &given, &status)) return status;
    if (n == 0) {
        err_set(&err, "no run named: expected folders made by 'mdm pretrain' or 'mdm eval'");
        return cmd_fail("plot", &err);
    }
    bool evaluations = false;
    if (look(&evaluations, argv + 1, n, &err) < 0) return cmd_fail("plot", &err);
    if ((evaluations ? draw_evaluations : draw_runs)(&a, &given, argv + 1, n, &err) < 0) return cmd_fail("plot", &err);
    progress_say(NULL, "wrote %s", a.out);
    return 0;
}

const struct command cmd_plot = {
    "plot",
    "draw the loss curves of runs, or results of evaluations",
    "RUN|OUT...",
    "mdm plot run --out loss.svg\nmdm plot run-a run-b --x flops --log --out compare.png\n"
    "mdm plot results-mdm results-arm --out tasks.svg\nmdm plot reverse-*steps --x steps --log --out steps.svg",
    run,
    .details =
        "Trainings: training and validation loss. Evaluations (folders of 'mdm eval'): a metric with its standard\n"
        "errors, as bars over tasks and folders, or as lines. 'mdm judge show' draws MT-Bench's categories."};

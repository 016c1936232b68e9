/* plot: pictures of training runs and of evaluations through gnuplot. The data and the script stay beside the picture, so that a person
 * can change the script and draw again; a changed script is not overwritten. */
#ifndef MDM_SCALING_PLOT_H
#define MDM_SCALING_PLOT_H
#include <stdbool.h>
#include <stdint.h>

struct err;

enum plot_axis { PLOT_STEPS, PLOT_TOKENS, PLOT_FLOPS };
struct plot_settings {
    const char *out; /* FILE.svg or FILE.png; FILE.svg.data and FILE.svg.gp are written beside it */
    enum plot_axis axis;
    int64_t smooth; /* rows averaged into one point of the training loss; 0: about 200 points a curve */
    bool log_x;
};
/* Loss curves (training as a line, validation as points) of runs: folders with metrics.csv. */
int plot_losses(const struct plot_settings *s, char **runs, int count, struct err *err);

/* Results of `mdm eval`; the legend tells which are unfinished. PLOT_TASKS: bars of a metric with their standard errors, tasks
 * beside one another, an OUT a colour.
 * PLOT_SAMPLING_STEPS, PLOT_CFG: the metric against the setting in which the OUTs differ, a task and model a line.
 * PLOT_EITHER: a line where all OUTs are of one model and differ in one of the two, else bars. */
enum plot_eval_axis { PLOT_EITHER, PLOT_TASKS, PLOT_SAMPLING_STEPS, PLOT_CFG };
struct plot_eval_settings {
    const char *out;
    enum plot_eval_axis axis;
    const char *metric; /* of results.json, as "acc"; tasks without it are left out */
    bool log_x;
};
int plot_results(const struct plot_eval_settings *s, char **outs, int count, struct err *err);

#endif

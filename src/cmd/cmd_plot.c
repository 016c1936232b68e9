/* cmd_plot: options of the loss-curve picture. */
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "cmd/cmd.h"
#include "scaling/plot.h"

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct plot_settings s = {0};
    int axis = PLOT_STEPS, noperands, status;
    const struct opt opts[] = {{"out", OPT_STR, &s.out, "FILE", "picture to write: .svg or .png", .required = true},
                               {"x", OPT_CHOICE, &axis, "steps|tokens|flops", "horizontal axis"},
                               {"log", OPT_FLAG, &s.log_x, NULL, "logarithmic horizontal axis"},
                               {"smooth", OPT_INT, &s.smooth, "N",
                                "steps averaged into a point; 0: about 200 points a curve", .min = 0, .max = 1e9},
                               {0}};
    if (!cmd_options(&cmd_plot, opts, argc, argv, &noperands, NULL, &status)) return status;
    s.axis = (enum plot_axis)axis;
    if (noperands == 0) {
        err_set(&err, "no run named: expected folders made by 'mdm pretrain'");
        return cmd_fail("plot", &err);
    }
    if (plot_losses(&s, argv + 1, noperands, &err) < 0) return cmd_fail("plot", &err);
    progress_say(NULL, "wrote %s", s.out);
    return 0;
}

const struct command cmd_plot = {"plot", "draw the loss curves of runs", "RUN...",
                                 "mdm plot run --out loss.svg\nmdm plot run-a run-b --x flops --log --out compare.png",
                                 run};

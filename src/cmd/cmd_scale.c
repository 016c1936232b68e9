/* cmd_scale: `mdm scale fit`: options of the scaling law's fit. The work is scaling/. */
#include <stdio.h>

#include "base/file.h"
#include "base/jsonl.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "scaling/fit.h"
#include "scaling/fit_report.h"

static int fit(int argc, char **argv);

static const struct command verbs[] = {
    {"scale fit", "fit the scaling law to measured losses", NULL,
     "mdm scale fit --points points.csv --out law\n"
     "head -3 points.csv\n"
     "    family,flops,params,loss\n"
     "    mdm,3e18,6.3e7,3.97\n"
     "    arm,3e18,1.06e8,3.38",
     fit},
    {0},
};

/* Everything that is asked of a fit; fit.json comes first, so that it is there when the pictures cannot be drawn. */
static int report(const char *folder, const struct scale_fit *f, const struct scale_points *points, bool draw,
                  struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *v = scale_fit_json(f);
    if (!v) return err_set(err, "out of memory: fit.json");
    int r = file_mkdirs(folder, err);
    if (r == 0) r = file_join(path, folder, "fit.json", err);
    if (r == 0) r = json_write_file(path, v, err);
    json_decref(v);
    if (r == 0) scale_fit_print(stdout, f);
    return r == 0 && draw ? scale_fit_draw(folder, f, points, err) : r;
}

static int fit(int argc, char **argv) {
    struct err err = {{0}};
    const char *points_path = NULL, *out = NULL;
    int64_t replicates = 1000, seed = 1;
    bool plot = true;
    int n, status;
    const struct opt opts[] = {
        {"points", OPT_STR, &points_path, "FILE",
         "table with the columns family, flops, params and loss, or its folder", .required = true},
        {"out", OPT_STR, &out, "DIR", "folder to write: fit.json, isoflop and frontier", .required = true},
        {"bootstrap", OPT_INT, &replicates, "N", "replicates behind the intervals; 0: no intervals", .min = 0,
         .max = 1e6},
        {"seed", OPT_INT, &seed, "N", "seed of the replicates", .min = 0, .max = -1},
        {"plot", OPT_FLAG, &plot, NULL, "draw the pictures"},
        {0}};
    if (!cmd_options(&verbs[0], opts, argc, argv, &n, NULL, &status)) return status;
    struct scale_points points;
    struct scale_fit f;
    if (scale_points_read(&points, points_path, &err) < 0) return cmd_fail(verbs[0].name, &err);
    int r = scale_fit(&f, &points, &(struct scale_fit_settings){replicates, (uint64_t)seed}, &err);
    if (r == 0) {
        r = report(out, &f, &points, plot, &err);
        scale_fit_free(&f);
    }
    scale_points_free(&points);
    return r < 0 ? cmd_fail(verbs[0].name, &err) : 0;
}

static int run(int argc, char **argv) {
    return cmd_verb(&cmd_scale, verbs, argc, argv);
}

const struct command cmd_scale = {"scale", "fit the scaling law", "fit ...",
                                  "mdm scale fit --points points.csv --out law\nmdm scale fit --help", run};

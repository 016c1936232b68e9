/* fit_report: a scaling law's fit as fit.json, as a table, and as the pictures isoflop and frontier (SVG and PNG, the
 * gnuplot script and the data beside them). */
#ifndef MDM_SCALING_FIT_REPORT_H
#define MDM_SCALING_FIT_REPORT_H
#include <jansson.h>
#include <stdio.h>

#include "scaling/fit.h"

/* The value of fit.json (docs/scaling.md has its keys); NULL when memory is out. Caller json_decref()s. */
json_t *scale_fit_json(const struct scale_fit *fit);
void scale_fit_print(FILE *out, const struct scale_fit *fit);
/* Removes the pictures that an earlier fit has left: this one may draw fewer. */
void scale_fit_undraw(const char *folder);
/* DIR/isoflop.* and DIR/frontier.*; the folder is there. */
int scale_fit_draw(const char *folder, const struct scale_fit *fit, const struct scale_points *points, struct err *err);

#endif

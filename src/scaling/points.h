/* points: measured losses of models of several families, sizes and budgets, from a table.
 *
 *     struct scale_points p;
 *     scale_points_read(&p, "points.csv", &err);     // family,flops,params,loss
 *     scale_points_free(&p);
 *
 * Columns are found by name, in any order; others are ignored. `flops` is the training budget C, `params` the
 * non-embedding parameters N. Budgets of a family within 1 % of the least of them are one: C = 6 N D of whole steps is
 * never quite the same. `loss_error`, the standard error of the loss, may be missing. */
#ifndef MDM_SCALING_POINTS_H
#define MDM_SCALING_POINTS_H
#include <stdint.h>

struct err;

#define SCALE_SAME_BUDGET 1.01 /* times the least of the budgets that are one */

enum { SCALE_NAME = 32, SCALE_FAMILIES = 16 }; /* bytes of a family's name with its end; most families */

struct scale_point {
    int family; /* number of its name */
    double flops, params, loss;
    double budget; /* the mean flops of the points that share it */
    double error;  /* standard error of the loss; 0: not known */
    int64_t line;  /* of the file, from 1 */
};
struct scale_points {
    char names[SCALE_FAMILIES][SCALE_NAME]; /* letters, digits, '_', '-', '.'; in the order of the file */
    int families;
    struct scale_point *v; /* n, sorted by family, budget, size, line */
    int64_t n, capacity;
};

/* The file, or points.csv in it when it is a folder. A column that is missing or there twice, a row with more fields than
 * the header, a field that is no number as it must be: an error with the line. */
int scale_points_read(struct scale_points *p, const char *path, struct err *err);
void scale_points_free(struct scale_points *p);

#endif

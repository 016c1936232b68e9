/* gnuplot: the program that draws every picture, run on a script that stays for people to change. */
#ifndef MDM_SCALING_GNUPLOT_H
#define MDM_SCALING_GNUPLOT_H

struct err;

/* Run gnuplot on a script. In `folder` when it is not NULL: the script and the names in it are then of that folder. Each
 * picture that it sets as output must be whole then. */
int gnuplot_run(const char *folder, const char *script, struct err *err);

#endif

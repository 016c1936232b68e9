/* gnuplot: the program that draws every picture, run on a script that stays for people to change. */
#ifndef MDM_BASE_GNUPLOT_H
#define MDM_BASE_GNUPLOT_H
#include <stdbool.h>

#include "base/file.h"

struct bytes;
struct err;

/* Run gnuplot on a script. In `folder` when it is not NULL: the script and the names in it are then of that folder. Each
 * picture that it sets as output must be whole then. */
int gnuplot_run(const char *folder, const char *script, struct err *err);

/* A picture that a person asked for: its script and data stay beside it, FILE.svg.gp and FILE.svg.data. */
struct gnuplot_picture {
    char out[FILE_PATH_MAX], data[FILE_PATH_MAX], script[FILE_PATH_MAX];
    bool png;
    bool tall; /* false, as gnuplot_picture() leaves it: wide; true is for who draws to set, before gnuplot_begin() */
};
/* Names them. An error: another ending than .svg and .png; a control character; a script that a person has changed, or data of something else, which would be lost. */
int gnuplot_picture(struct gnuplot_picture *p, const char *out, struct err *err);
/* Begins a script: the form of the picture and its file. */
int gnuplot_begin(struct bytes *script, const struct gnuplot_picture *p, struct err *err);
/* A string in a script, in data or in a comment, on one line, in double quotes. */
int gnuplot_quote(struct bytes *b, const char *text, struct err *err);
/* Writes script and data, and draws. */
int gnuplot_draw(const struct gnuplot_picture *p, const struct bytes *data, const struct bytes *script,
                 struct err *err);

#endif

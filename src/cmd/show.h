/* show: a sequence as it is being written, token by token, on standard error, since standard output belongs to results:
 * redrawn in place on a terminal, one line per call elsewhere.
 *
 *     struct show s;
 *     show_open(&s, tokenizer, mask_id, ids, n, &err);
 *     show_draw(&s, "step 3/64", ids, n);       // tokens that are new since the last call stand out
 *     show_close(&s);
 */
#ifndef MDM_CMD_SHOW_H
#define MDM_CMD_SHOW_H
#include <stdbool.h>
#include <stdint.h>
#include "text/tokenizer.h"

struct err;

struct show {
    const struct tokenizer *tokenizer; /* borrowed; NULL: ids are shown */
    int32_t mask;                      /* drawn as an open place; -1: none */
    bool terminal;
    int width, height; /* of the terminal */
    int column, line;  /* where drawing is, from the frame's start */
    int drawn;         /* lines of the last frame above the cursor */
    struct ids before; /* the last frame's ids */
    int32_t anchor;    /* a token that stands before each one decoded, so that its leading space is kept; -1: none */
    struct bytes piece;
};

/* ids[n]: what there is at the start. */
int show_open(struct show *s, const struct tokenizer *t, int32_t mask, const int32_t *ids, int64_t n, struct err *err);
bool show_changed(const struct show *s, const int32_t *ids, int64_t n); /* since the last call of show_draw() */
void show_draw(struct show *s, const char *label, const int32_t *ids, int64_t n);
void show_close(struct show *s);

#endif

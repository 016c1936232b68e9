/* pattern: what a tokenizer file splits or replaces by: a literal string or a regular expression (PCRE2, compiled).
 *
 * The files are written for the Oniguruma library; what PCRE2 reads differently is translated (\s and \w are Unicode's,
 * ^ and $ match at lines, \p{Han} is the script itself) or refused with a message. */
#ifndef MDM_TEXT_PATTERN_H
#define MDM_TEXT_PATTERN_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct pattern;
struct pattern_scratch; /* match buffers, one per thread */

struct pattern *pattern_literal(const char *text, int64_t n, struct err *err); /* n >= 1 */
struct pattern *pattern_regex(const char *regex, struct err *err);
void pattern_free(struct pattern *p); /* NULL is fine */

struct pattern_scratch *pattern_scratch_new(struct err *err);
void pattern_scratch_free(struct pattern_scratch *s);

/* All matches in well-formed text[0..n), one after another, as Oniguruma's search does: an empty match right behind
 * another match does not count. Zero-initialise the walk. 1 and [*start, *end), 0 at the end, -1 with err (a regular
 * expression that takes too long). */
struct pattern_walk {
    int64_t from, done;
};
int pattern_next(const struct pattern *p, struct pattern_scratch *s, const char *text, int64_t n,
                 struct pattern_walk *w, int64_t *start, int64_t *end, struct err *err);

#endif

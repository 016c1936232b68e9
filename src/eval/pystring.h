/* pystring: what Python's strings do where a task's definition is a Python expression, for UTF-8 text.
 *
 * Characters are code points. Cases are Unicode's simple mappings, one character to one: Python's few longer ones (ß at a
 * sentence's start becomes Ss, İ becomes i and a dot) and its final sigma are not made. */
#ifndef MDM_EVAL_PYSTRING_H
#define MDM_EVAL_PYSTRING_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct bytes;
struct err;

int64_t py_length(const char *s, int64_t n);                                     /* len(): well-formed text */
void py_strip(const char **s, int64_t *n);                                       /* str.strip() */
int py_lower(struct bytes *out, const char *s, int64_t n, struct err *err);      /* appends str.lower() */
int py_capitalize(struct bytes *out, const char *s, int64_t n, struct err *err); /* appends str.capitalize() */

/* ast.literal_eval() of lists, tuples (as arrays), dicts with strings as keys, strings, integers, True, False and None. NULL
 * with err, which says at which byte. Caller json_decref()s. */
json_t *py_literal(const char *s, int64_t n, struct err *err);

#endif

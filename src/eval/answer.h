/* answer: what a solution of a word problem says the answer is, and whether two answers are the same.
 *
 *     answer_find("2 + 3 = 5 #### $1,000", 21, &a, &n);   // "$1,000"
 *     answer_equal(a, n, "1000 dollars", 12);             // true
 *
 * Answers are first freed of LaTeX's marks, currency signs and white space. What then reads as a number with at most a
 * percent sign and a unit behind it is compared as a number, everything else as text without regard to case. The rules
 * are in docs/evaluation.md, and tests/golden/answers.tsv has cases of each. */
#ifndef MDM_EVAL_ANSWER_H
#define MDM_EVAL_ANSWER_H
#include <stdbool.h>
#include <stdint.h>

/* The rest of the line behind the last "####" of text[n], without white space around it; false when there is none. */
bool answer_find(const char *text, int64_t n, const char **answer, int64_t *length);
/* Are the two the same? An empty answer equals nothing. */
bool answer_equal(const char *a, int64_t n, const char *b, int64_t m);

#endif

/* sources: which files a list of operands means. A file stands for itself; a folder for all files of known form in it
 * and below, in byte order of their names, but for READMEs, licences and the files that describe data sets and tokenizers; anything else that has *, ? or [ is a pattern. */
#ifndef MDM_DATA_SOURCES_H
#define MDM_DATA_SOURCES_H
#include <stdbool.h>
#include <stdint.h>

struct err;

struct sources { /* zero-initialise; sources_free() */
    char **paths;
    int64_t *sizes; /* bytes */
    int64_t n, capacity, sizes_capacity;
    int64_t bytes;  /* of all */
    int64_t passed; /* files in folders that were not taken */
};

/* READMEs, licences, descriptions of data sets and tokenizers: what lies beside texts in forms that texts have too. */
bool sources_about_data(const char *name);
/* Append what the operand means. Nothing found is an error. So is a pipe, and "-": what was made of files is known by their
 * contents, a run that was stopped reads them again, and so does each rank. */
int sources_add(struct sources *s, const char *operand, struct err *err);
/* No file may be listed twice, by whatever names: -1 with err that says which. */
int sources_check(const struct sources *s, struct err *err);
void sources_free(struct sources *s);

#endif

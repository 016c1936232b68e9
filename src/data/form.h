/* form: what a file is: told from its first bytes, then its name, then its first letter. What is no text in UTF-8 and
 * cannot be read here (archives, xz, UTF-16, …) is an error that says what to do. */
#ifndef MDM_DATA_FORM_H
#define MDM_DATA_FORM_H

struct err;
struct records;

enum form {
    FORM_TEXT,
    FORM_JSON_LINES,
    FORM_JSON_ARRAY, /* one array, its elements anywhere on lines */
    FORM_TSV,
    FORM_LIST, /* .lst: a value a line */
    FORM_PARQUET
};

int form_is_parquet(const char *path, struct err *err); /* 1, 0, or -1 with err */
/* Of a file that is not Parquet, before its first record; path: its name. */
int form_find(enum form *form, struct records *r, const char *path, struct err *err);

#endif

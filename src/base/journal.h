/* journal: a file of lines that only grows: each line is on the disk before the next thing happens.
 *
 *     struct journal j;
 *     journal_open(&j, "judged/gpt-4_single.jsonl", &err);   // made when it is not there; a torn last line is cut off
 *     journal_add(&j, line, n, &err);                        // line and line break, synced
 *     journal_close(&j);
 *
 * What was there when it was opened is read by others (base/jsonl.h), after journal_open(). */
#ifndef MDM_BASE_JOURNAL_H
#define MDM_BASE_JOURNAL_H
#include <stdint.h>

#include "base/file.h"

struct journal {
    char path[FILE_PATH_MAX];
    int fd;
    int64_t size;
    int64_t cut; /* bytes of the torn line that was there; 0: none */
};

/* A last line without its line break is kept when it is a whole JSON value and cut off otherwise. */
int journal_open(struct journal *j, const char *path, struct err *err);
/* text[n]: a line, or several with line breaks between them. After a failure the file is as long as it was. */
int journal_add(struct journal *j, const char *text, int64_t n, struct err *err);
void journal_close(struct journal *j); /* a zeroed one is fine */

#endif

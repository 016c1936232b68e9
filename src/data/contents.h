/* contents: which bytes a file had when it was read, to see at a later start whether it still has them. Its size and the time
 * of its last change tell at once that nobody wrote to it; where the time is another one (a copy, a restored file) its bytes
 * are read again. */
#ifndef MDM_DATA_CONTENTS_H
#define MDM_DATA_CONTENTS_H
#include <stdbool.h>
#include <stdint.h>

struct err;

struct contents {
    bool known;
    int64_t bytes, changed; /* changed: ns since 1970, by the file system's clock */
    uint32_t crc32;         /* of all bytes, as zlib and gzip count it */
};

/* Told how many bytes were read, of a file of more than one piece; false: stop reading. NULL: nobody is told. */
typedef bool contents_heard(void *who, int64_t bytes);
/* Reads the whole file. 1: stopped, *c is unchanged. */
int contents_read(struct contents *c, const char *path, contents_heard *heard, void *who, struct err *err);
/* Has the file the bytes that are known? 1: it has others, or (heard) was stopped. Takes over a new time of change. */
int contents_check(struct contents *c, const char *path, contents_heard *heard, void *who, struct err *err);

#endif

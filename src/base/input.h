/* input: a regular file read at any place, without mapping it: what is read once should not stay in memory. */
#ifndef MDM_BASE_INPUT_H
#define MDM_BASE_INPUT_H
#include <stdint.h>

struct err;

struct input {        /* a regular file open for reading at any place */
    const char *path; /* borrowed */
    int fd;
    int64_t size;
};

int input_open(struct input *in, const char *path, struct err *err);
int input_read(const struct input *in, void *buf, int64_t n, int64_t offset, struct err *err); /* exactly n bytes */
void input_close(struct input *in);

#endif

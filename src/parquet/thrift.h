/* thrift: reads Thrift's compact protocol from a buffer, as far as Parquet needs it. Nothing is read past the end: the
 * first thing wrong sets `bad`, after which every call returns 0 or false, so that one look at the end is enough.
 *
 *     for (int id = 0, type; thrift_field(&t, &id, &type);)
 *         switch (id) {
 *         case 1: n = thrift_int(&t, type); break;
 *         default: thrift_skip(&t, type);
 *         }
 *     if (t.bad) …
 */
#ifndef MDM_PARQUET_THRIFT_H
#define MDM_PARQUET_THRIFT_H
#include <stdbool.h>
#include <stdint.h>

enum {
    THRIFT_TRUE = 1,
    THRIFT_FALSE,
    THRIFT_BYTE,
    THRIFT_I16,
    THRIFT_I32,
    THRIFT_I64,
    THRIFT_DOUBLE,
    THRIFT_BINARY,
    THRIFT_LIST,
    THRIFT_SET,
    THRIFT_MAP,
    THRIFT_STRUCT,
    THRIFT_UUID
};

struct thrift {
    const unsigned char *p, *end;
    bool bad;
    int depth; /* of thrift_skip() */
};

/* The next field of a struct; *id holds the last one (0 at first). false: the struct ends here, or bad. */
bool thrift_field(struct thrift *t, int *id, int *type);
int64_t thrift_int(struct thrift *t, int type); /* any whole number */
bool thrift_bool(struct thrift *t, int type);   /* as a field */
/* Bytes inside the buffer. */
const char *thrift_binary(struct thrift *t, int type, int64_t *n);
/* Number of elements, each of at least one byte, and their type. */
int64_t thrift_list(struct thrift *t, int type, int *element);
/* Is the type a struct? (then its fields follow); else bad. */
bool thrift_struct(struct thrift *t, int type);
void thrift_skip(struct thrift *t, int type);

#endif

/* thrift: the compact protocol. Fields that a reader does not know are skipped, to any depth up to DEPTH_MAX. */
#include "parquet/thrift.h"

#include <stddef.h>

enum { DEPTH_MAX = 64 };

static int fail(struct thrift *t) {
    t->bad = true;
    t->p = t->end;
    return 0;
}

static int byte(struct thrift *t) {
    return t->p < t->end ? *t->p++ : fail(t);
}

static uint64_t varint(struct thrift *t) {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        int b = byte(t);
        x |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) return t->bad ? 0 : x;
    }
    fail(t);
    return 0;
}

static int64_t zigzag(struct thrift *t) {
    uint64_t x = varint(t);
    return (int64_t)(x >> 1 ^ (0 - (x & 1)));
}

bool thrift_field(struct thrift *t, int *id, int *type) {
    int head = byte(t);
    if (t->bad || head == 0) return false;
    *type = head & 15;
    int64_t next = head >> 4 ? *id + (head >> 4) : zigzag(t);
    if (next < 1 || next > INT16_MAX || *type == 0 || *type > THRIFT_UUID) return fail(t);
    *id = (int)next;
    return !t->bad;
}

int64_t thrift_int(struct thrift *t, int type) {
    if (type == THRIFT_BYTE) return (int8_t)byte(t);
    return type >= THRIFT_I16 && type <= THRIFT_I64 ? zigzag(t) : fail(t);
}

bool thrift_bool(struct thrift *t, int type) {
    if (type != THRIFT_TRUE && type != THRIFT_FALSE) fail(t);
    return type == THRIFT_TRUE;
}

const char *thrift_binary(struct thrift *t, int type, int64_t *n) {
    uint64_t length = type == THRIFT_BINARY ? varint(t) : (uint64_t)fail(t);
    if (length > (uint64_t)(t->end - t->p)) length = (uint64_t)fail(t);
    const char *s = (const char *)t->p;
    t->p += length;
    *n = (int64_t)length;
    return s;
}

int64_t thrift_list(struct thrift *t, int type, int *element) {
    if (type != THRIFT_LIST && type != THRIFT_SET) return fail(t);
    int head = byte(t);
    uint64_t n = head >> 4 == 15 ? varint(t) : (uint64_t)(head >> 4);
    *element = head & 15;
    if (n > (uint64_t)(t->end - t->p)) return fail(t);
    return (int64_t)n;
}

bool thrift_struct(struct thrift *t, int type) {
    if (type != THRIFT_STRUCT) fail(t);
    return !t->bad;
}

static void skip_bytes(struct thrift *t, int64_t n) {
    if (n > t->end - t->p)
        fail(t);
    else
        t->p += n;
}

static void skip_map(struct thrift *t) {
    uint64_t n = varint(t);
    if (n == 0) return;
    int types = byte(t);
    for (; n > 0 && !t->bad; n--)
        for (int i = 4; i >= 0; i -= 4) {
            int type = types >> i & 15;
            if (type <= THRIFT_FALSE)
                byte(t); /* inside containers a bool is a byte */
            else
                thrift_skip(t, type);
        }
}

static void skip_list(struct thrift *t, int type) {
    int element = 0;
    for (int64_t n = thrift_list(t, type, &element); n > 0 && !t->bad; n--)
        if (element <= THRIFT_FALSE)
            byte(t);
        else
            thrift_skip(t, element);
}

void thrift_skip(struct thrift *t, int type) {
    int64_t n;
    if (++t->depth > DEPTH_MAX) fail(t);
    switch (t->bad ? 0 : type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        break;
    case THRIFT_BYTE:
        byte(t);
        break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        varint(t);
        break;
    case THRIFT_DOUBLE:
        skip_bytes(t, 8);
        break;
    case THRIFT_UUID:
        skip_bytes(t, 16);
        break;
    case THRIFT_BINARY:
        thrift_binary(t, type, &n);
        break;
    case THRIFT_LIST:
    case THRIFT_SET:
        skip_list(t, type);
        break;
    case THRIFT_MAP:
        skip_map(t);
        break;
    case THRIFT_STRUCT:
        for (int id = 0, field; thrift_field(t, &id, &field);) thrift_skip(t, field);
        break;
    default:
        fail(t);
    }
    t->depth--;
}

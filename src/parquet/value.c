/* value: numbers of every physical type. Little-endian, as on every machine this is built for, but for decimals in byte
 * strings. */
#include "parquet/value.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers in Parquet files are read without byte swaps");

static json_t *integer(int64_t x, const struct parquet_node *node) {
    if (node->meaning == PARQUET_DECIMAL) return json_real((double)x / pow(10, node->scale));
    if (node->meaning != PARQUET_UNSIGNED) return json_integer(x);
    if (node->type == PARQUET_INT32) return json_integer((int64_t)(uint32_t)x);
    return x < 0 ? json_null() : json_integer(x); /* 2^63 or more */
}

static json_t *real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static double half(const char *bytes) {
    uint16_t h;
    memcpy(&h, bytes, 2);
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double x = exponent == 31  ? (fraction ? NAN : INFINITY)
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);
    return h >> 15 ? -x : x;
}

/* Two's complement, high byte first, of any length. */
static double decimal(const char *bytes, int64_t n, int scale) {
    double x = n > 0 && (bytes[0] & 0x80) ? -1 : 0;
    for (int64_t i = 0; i < n; i++) x = x * 256 + (unsigned char)bytes[i];
    return x / pow(10, scale);
}

/* Nanoseconds of the day, then the Julian day. */
static json_t *timestamp(const char *bytes) {
    int64_t nanoseconds, since;
    int32_t day;
    memcpy(&nanoseconds, bytes, 8);
    memcpy(&day, bytes + 8, 4);
    if (!__builtin_mul_overflow((int64_t)day - 2440588, 86400000000000, &since) &&
        !__builtin_add_overflow(since, nanoseconds, &since))
        return json_integer(since);
    return json_null();
}

json_t *parquet_value(const struct parquet_node *node, const char *bytes, int64_t n) {
    int32_t i32;
    int64_t i64;
    float f;
    double d;
    switch (node->type) {
    case PARQUET_BOOLEAN:
        return json_boolean(bytes[0]);
    case PARQUET_INT32:
        return memcpy(&i32, bytes, 4), integer(i32, node);
    case PARQUET_INT64:
        return memcpy(&i64, bytes, 8), integer(i64, node);
    case PARQUET_INT96:
        return timestamp(bytes);
    case PARQUET_FLOAT:
        return memcpy(&f, bytes, 4), real(f);
    case PARQUET_DOUBLE:
        return memcpy(&d, bytes, 8), real(d);
    default:
        if (node->meaning == PARQUET_DECIMAL) return real(decimal(bytes, n, node->scale));
        if (node->meaning == PARQUET_FLOAT16) return real(half(bytes));
        return json_stringn_nocheck(bytes, (size_t)n);
    }
}

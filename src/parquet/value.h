/* value: what the bytes of a column's value mean, as JSON. */
#ifndef MDM_PARQUET_VALUE_H
#define MDM_PARQUET_VALUE_H
#include <jansson.h>
#include <stdint.h>
#include "parquet/schema.h"

/* A new value; a number that JSON cannot hold is null. n is the length that the type has. */
json_t *parquet_value(const struct parquet_node *node, const char *bytes, int64_t n);

#endif

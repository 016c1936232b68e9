/* schema: the tree of columns of a Parquet file, flat and depth first as the file has it: the children of node i are
 * i + 1, then each one's `end`, up to nodes[i].end.
 *
 * A list is written as a group that holds a repeated group that holds the element ("a.list.element"), or in older ways.
 * Nodes that are there for that alone are `silent`: rows and names of fields ("a") do without them. */
#ifndef MDM_PARQUET_SCHEMA_H
#define MDM_PARQUET_SCHEMA_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct thrift;

enum parquet_type {
    PARQUET_BOOLEAN,
    PARQUET_INT32,
    PARQUET_INT64,
    PARQUET_INT96,
    PARQUET_FLOAT,
    PARQUET_DOUBLE,
    PARQUET_BYTE_ARRAY,
    PARQUET_FIXED_BYTES,
    PARQUET_TYPES
};
extern const char *const parquet_type_names[PARQUET_TYPES];

enum parquet_repetition { PARQUET_REQUIRED, PARQUET_OPTIONAL, PARQUET_REPEATED };
enum parquet_meaning { PARQUET_ITSELF, PARQUET_UNSIGNED, PARQUET_DECIMAL, PARQUET_FLOAT16 };
enum { PARQUET_PATH_MAX = 4096 };

struct parquet_node {
    char *name;
    enum parquet_repetition repetition;
    int64_t parent, end;    /* nodes; the root's parent is -1 */
    int64_t leaf;           /* number among the columns, which are the nodes with values; a group: -1 */
    enum parquet_type type; /* of a column */
    int64_t fixed;          /* bytes of a PARQUET_FIXED_BYTES */
    enum parquet_meaning meaning;
    int scale;    /* PARQUET_DECIMAL: digits behind the point */
    int def, rep; /* definition level from which on it is there; how many repeated nodes from the root to it */
    bool list;    /* its only child is the repeated node of a list or a map */
    bool silent;
};
struct parquet_schema { /* zero-initialise; parquet_schema_free() */
    struct parquet_node *nodes;
    int64_t n, capacity;
    int64_t leaves;
};

/* The list of schema elements at t. `path` is the file's, for messages. */
int parquet_schema_read(struct parquet_schema *s, struct thrift *t, int type, const char *path, struct err *err);
void parquet_schema_free(struct parquet_schema *s);
/* Names from the root down, joined by dots: all of them, or without the silent ones. */
void parquet_schema_path(const struct parquet_schema *s, int64_t node, bool silent_too, char out[PARQUET_PATH_MAX]);

#endif

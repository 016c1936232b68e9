/* schema: reads the footer's list of SchemaElements and finds out which of them make up lists and maps, by the rules of
 * the format's document "Logical types", the ones for older writers included. */
#include "parquet/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "parquet/thrift.h"

enum { DEPTH_MAX = 64, LEAVES_MAX = 1 << 16, NAME_MAX_BYTES = 1024, SCALE_MAX = 300 };
enum { CONVERTED_MAP = 1, CONVERTED_MAP_KEY_VALUE = 2, CONVERTED_LIST = 3, CONVERTED_DECIMAL = 5 };
enum { CONVERTED_UINT_8 = 11, CONVERTED_UINT_64 = 14 };
enum { LOGICAL_MAP = 2, LOGICAL_LIST = 3, LOGICAL_DECIMAL = 5, LOGICAL_INTEGER = 10, LOGICAL_FLOAT16 = 15 };

const char *const parquet_type_names[PARQUET_TYPES] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                                       "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};

struct element { /* one SchemaElement */
    const char *name;
    int64_t name_n, type, width, repetition, children, converted, scale, logical;
    bool is_unsigned;
};

static int damaged(const char *path, const char *what, struct err *err) {
    return err_set(err, "%s: damaged Parquet footer: %s", path, what);
}

/* The union LogicalType: which one, and of integers whether they have a sign. */
static void read_logical(struct thrift *t, struct element *e) {
    for (int id = 0, type; thrift_field(t, &id, &type);) {
        e->logical = id;
        if (!thrift_struct(t, type)) return;
        for (int part = 0, kind; thrift_field(t, &part, &kind);) {
            if (id == LOGICAL_INTEGER && part == 2)
                e->is_unsigned = !thrift_bool(t, kind);
            else if (id == LOGICAL_DECIMAL && part == 1)
                e->scale = thrift_int(t, kind);
            else
                thrift_skip(t, kind);
        }
    }
}

static struct element read_element(struct thrift *t) {
    struct element e = {.name = "", .type = -1, .converted = -1, .repetition = PARQUET_REQUIRED};
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            e.type = thrift_int(t, type);
            break;
        case 2:
            e.width = thrift_int(t, type);
            break;
        case 3:
            e.repetition = thrift_int(t, type);
            break;
        case 4:
            e.name = thrift_binary(t, type, &e.name_n);
            break;
        case 5:
            e.children = thrift_int(t, type);
            break;
        case 6:
            e.converted = thrift_int(t, type);
            break;
        case 7:
            e.scale = thrift_int(t, type);
            break;
        case 10:
            if (thrift_struct(t, type)) read_logical(t, &e);
            break;
        default:
            thrift_skip(t, type);
        }
    return e;
}

static enum parquet_meaning meaning_of(const struct element *e) {
    if (e->converted == CONVERTED_DECIMAL || e->logical == LOGICAL_DECIMAL) return PARQUET_DECIMAL;
    if (e->is_unsigned || (e->converted >= CONVERTED_UINT_8 && e->converted <= CONVERTED_UINT_64))
        return PARQUET_UNSIGNED;
    return e->logical == LOGICAL_FLOAT16 && e->width == 2 ? PARQUET_FLOAT16 : PARQUET_ITSELF;
}

static int add_node(struct parquet_schema *s, const struct element *e, int64_t parent, const char *path,
                    struct err *err) {
    const bool group = parent < 0 || e->children > 0 || e->type < 0;
    if (!group && e->type >= PARQUET_TYPES) return damaged(path, "a column of unknown type", err);
    if (!group && s->leaves == LEAVES_MAX) return damaged(path, "too many columns", err);
    if (e->width < 0 || e->width > INT32_MAX || (!group && e->type == PARQUET_FIXED_BYTES && e->width == 0) ||
        e->scale < -SCALE_MAX || e->scale > SCALE_MAX)
        return damaged(path, "a column whose type cannot be", err);
    if (mem_grow(&s->nodes, &s->capacity, s->n + 1, sizeof *s->nodes, "Parquet schema", err) < 0) return -1;
    const struct parquet_node *above = parent < 0 ? NULL : &s->nodes[parent];
    struct parquet_node *node = &s->nodes[s->n];
    *node = (struct parquet_node){.name = mem_alloc(e->name_n + 1, 1, "Parquet column name", err),
                                  .repetition = (enum parquet_repetition)e->repetition,
                                  .parent = parent,
                                  .leaf = group ? -1 : s->leaves++,
                                  .type = group ? PARQUET_TYPES : (enum parquet_type)e->type,
                                  .fixed = e->width,
                                  .meaning = meaning_of(e),
                                  .scale = (int)e->scale,
                                  .list = e->converted == CONVERTED_LIST || e->converted == CONVERTED_MAP ||
                                          e->converted == CONVERTED_MAP_KEY_VALUE || e->logical == LOGICAL_LIST ||
                                          e->logical == LOGICAL_MAP};
    if (!node->name) return -1;
    s->n++;
    memcpy(node->name, e->name, (size_t)e->name_n);
    if (!above) return 0;
    node->def = above->def + (e->repetition != PARQUET_REQUIRED);
    node->rep = above->rep + (e->repetition == PARQUET_REPEATED);
    return 0;
}

/* Which nodes are there only because lists are written so. A repeated group with one child is a mere wrapper of the
 * element, unless older writers' names say that it is the element. */
static void find_lists(struct parquet_schema *s) {
    for (int64_t i = 0; i < s->n; i++) {
        struct parquet_node *group = &s->nodes[i], *each = group + 1;
        group->list = group->list && group->leaf < 0 && group->end > i + 1 && each->end == group->end &&
                      each->repetition == PARQUET_REPEATED;
        if (!group->list) continue;
        char tuple[NAME_MAX_BYTES + 8];
        snprintf(tuple, sizeof tuple, "%s_tuple", group->name);
        each->silent = true;
        bool one = each->leaf < 0 && i + 2 < each->end && each[1].end == each->end;
        if (one && strcmp(each->name, "array") != 0 && strcmp(each->name, tuple) != 0) each[1].silent = true;
    }
}

int parquet_schema_read(struct parquet_schema *s, struct thrift *t, int type, const char *path, struct err *err) {
    int64_t left[DEPTH_MAX], open[DEPTH_MAX]; /* of the groups we are in: children still to come, their nodes */
    int depth = -1, element;
    for (int64_t n = thrift_list(t, type, &element), i = 0; i < n; i++) {
        struct element e = thrift_struct(t, element) ? read_element(t) : (struct element){.name = ""};
        bool orphan = i > 0 && depth < 0;
        if (t->bad || orphan || e.children < 0 || e.children > n - 1 - i || e.repetition < 0 ||
            e.repetition > PARQUET_REPEATED || e.name_n > NAME_MAX_BYTES || memchr(e.name, 0, (size_t)e.name_n))
            return damaged(path, "the schema is not a tree of columns", err);
        if (i > 0) left[depth]--;
        if (add_node(s, &e, i == 0 ? -1 : open[depth], path, err) < 0) return -1;
        if (s->nodes[i].leaf < 0) {
            if (++depth == DEPTH_MAX) return damaged(path, "columns nested too deep", err);
            left[depth] = e.children;
            open[depth] = i;
        } else {
            s->nodes[i].end = i + 1;
        }
        for (; depth >= 0 && left[depth] == 0; depth--) s->nodes[open[depth]].end = i + 1;
    }
    if (depth >= 0 || t->bad || s->n == 0) return damaged(path, "the schema ends too early", err);
    find_lists(s);
    return 0;
}

void parquet_schema_free(struct parquet_schema *s) {
    for (int64_t i = 0; i < s->n; i++) mem_free(s->nodes[i].name);
    mem_free(s->nodes);
    *s = (struct parquet_schema){0};
}

void parquet_schema_path(const struct parquet_schema *s, int64_t node, bool silent_too, char out[PARQUET_PATH_MAX]) {
    char tail[PARQUET_PATH_MAX] = "";
    for (int64_t i = node; i > 0; i = s->nodes[i].parent) {
        if (s->nodes[i].silent && !silent_too) continue;
        snprintf(out, PARQUET_PATH_MAX, "%s%s%s", s->nodes[i].name, tail[0] ? "." : "", tail);
        memcpy(tail, out, PARQUET_PATH_MAX);
    }
    memcpy(out, tail, PARQUET_PATH_MAX);
}

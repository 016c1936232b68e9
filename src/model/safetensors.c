/* safetensors: reads a file by mapping it, and makes the header of one (train/shard_file writes). Reading trusts nothing: the header's length
 * and JSON, every dtype, shape and offset are checked, and the tensors must cover the data exactly, without holes or
 * overlaps (as the format asks), so that a truncated file cannot pass. What the tensors mean is weights.c's business.
 */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { HEADER_MAX = 100000000, DATA_ALIGN = 64, NDIM_MAX = 8 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors files are read and written without byte swaps");

static const struct dtype_row {
    const char *name;
    size_t bytes;
    uint64_t exponent; /* bits that are all set in an infinity or NaN; 0: the type has none that matter here */
} dtypes[] = {{"F32", 4, 0x7f800000}, {"BF16", 2, 0x7f80}, {"F16", 2, 0x7c00},  {"F64", 8, 0x7ff0000000000000},
              {"I64", 8, 0},          {"I32", 4, 0},       {"I16", 2, 0},       {"I8", 1, 0},
              {"U64", 8, 0},          {"U32", 4, 0},       {"U16", 2, 0},       {"U8", 1, 0},
              {"BOOL", 1, 0},         {"F8_E4M3", 1, 0},   {"F8_E5M2", 1, 0x7c}};

static const struct dtype_row *find_dtype(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (!strcmp(dtypes[i].name, name)) return &dtypes[i];
    return NULL;
}

static size_t dtype_bytes(const char *name) {
    const struct dtype_row *d = find_dtype(name);
    return d ? d->bytes : 0;
}

/* Bytes of a tensor of this shape, or -1 when that does not fit into an int64. */
static int64_t shape_bytes(const int64_t *shape, int ndim, size_t element) {
    int64_t n = (int64_t)element;
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(n, shape[i], &n)) return -1;
    return n;
}

/* ---- reading ---- */

static int read_dtype(struct st_tensor *t, const json_t *entry, const char *path, struct err *err) {
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype) return err_set(err, "%s: tensor '%s': \"dtype\" is missing", path, t->name);
    if (!dtype_bytes(dtype)) return err_set(err, "%s: tensor '%s': unknown dtype '%s'", path, t->name, dtype);
    memcpy(t->dtype, dtype, strlen(dtype) + 1);
    return 0;
}

static int read_shape(struct st_tensor *t, const json_t *entry, const char *path, struct err *err) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return err_set(err, "%s: tensor '%s': \"shape\" is missing", path, t->name);
    if (json_array_size(shape) > NDIM_MAX)
        return err_set(err, "%s: tensor '%s': %zu dimensions, at most %d are read", path, t->name,
                       json_array_size(shape), NDIM_MAX);
    t->ndim = (int)json_array_size(shape);
    for (int i = 0; i < t->ndim; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return err_set(err, "%s: tensor '%s': shape[%d] must be an integer from 0 up", path, t->name, i);
        t->shape[i] = json_integer_value(d);
    }
    return 0;
}

/* data: the bytes after the header, `size` of them. */
static int read_offsets(struct st_tensor *t, const json_t *entry, const unsigned char *data, size_t size,
                        const char *path, struct err *err) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return err_set(err, "%s: tensor '%s': \"data_offsets\" must be two integers", path, t->name);
    json_int_t from = json_integer_value(first), to = json_integer_value(last);
    if (from < 0 || to < from) return err_set(err, "%s: tensor '%s': bad data_offsets", path, t->name);
    if ((uint64_t)to > size)
        return err_set(err, "%s: cut short: tensor '%s' ends at byte %lld of the data, the file has %zu", path, t->name,
                       (long long)to, size);
    int64_t want = shape_bytes(t->shape, t->ndim, dtype_bytes(t->dtype));
    if (want != to - from)
        return err_set(err, "%s: tensor '%s': its shape needs %lld bytes, its data_offsets give %lld", path, t->name,
                       (long long)want, (long long)(to - from));
    t->data = data + from;
    t->bytes = (size_t)want;
    return 0;
}

static int read_entry(struct safetensors *s, const char *name, const json_t *entry, const unsigned char *data,
                      size_t size, const char *path, struct err *err) {
    struct st_tensor *t = &s->v[s->count];
    if (!json_is_object(entry)) return err_set(err, "%s: tensor '%s': expected an object", path, name);
    t->name = mem_strdup(name, err);
    if (!t->name) return -1;
    s->count++; /* from here on safetensors_close() frees it */
    if (read_dtype(t, entry, path, err) < 0) return -1;
    if (read_shape(t, entry, path, err) < 0) return -1;
    return read_offsets(t, entry, data, size, path, err);
}

static int read_metadata(struct safetensors *s, const json_t *meta, const char *path, struct err *err) {
    if (!json_is_object(meta)) return err_set(err, "%s: __metadata__ must be an object", path);
    size_t n = json_dumpb(meta, NULL, 0, JSON_COMPACT);
    s->metadata = mem_alloc((int64_t)n + 1, 1, "metadata", err);
    if (!s->metadata) return -1;
    if (n > 0 && json_dumpb(meta, s->metadata, n, JSON_COMPACT) == n) return 0;
    return err_set(err, "%s: out of memory for the metadata", path);
}

/* By place in the data; empty tensors before the one that starts where they stand. */
static int by_place(const void *a, const void *b) {
    const struct st_tensor *x = a, *y = b;
    if (x->data != y->data) return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int check_cover(struct safetensors *s, const unsigned char *data, size_t size, const char *path,
                       struct err *err) {
    if (s->count) qsort(s->v, (size_t)s->count, sizeof *s->v, by_place);
    size_t at = 0;
    for (int i = 0; i < s->count; i++) {
        size_t start = (size_t)((const unsigned char *)s->v[i].data - data);
        if (start != at)
            return err_set(err, "%s: tensor '%s' starts at byte %zu of the data, expected %zu: %s", path, s->v[i].name,
                           start, at, start < at ? "tensors overlap" : "there is a hole");
        at += s->v[i].bytes;
    }
    if (at != size)
        return err_set(err, "%s: %zu bytes follow the last tensor: not a whole safetensors file", path, size - at);
    return 0;
}

static int by_name(const void *a, const void *b) {
    const struct st_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* For safetensors_find(): files of many experts have tens of thousands of tensors. */
static int sort_names(struct safetensors *s, struct err *err) {
    s->by_name = mem_alloc(s->count, sizeof *s->by_name, "the list of tensors", err);
    if (!s->by_name) return -1;
    for (int i = 0; i < s->count; i++) s->by_name[i] = &s->v[i];
    if (s->count) qsort(s->by_name, (size_t)s->count, sizeof *s->by_name, by_name);
    return 0;
}

static int read_header(struct safetensors *s, const json_t *header, size_t header_bytes, const char *path,
                       struct err *err) {
    const unsigned char *data = s->map.data + 8 + header_bytes;
    size_t size = s->map.size - 8 - header_bytes;
    if (json_object_size(header) > INT32_MAX) return err_set(err, "%s: too many tensors", path);
    s->v = mem_alloc((int64_t)json_object_size(header), sizeof *s->v, "the list of tensors", err);
    if (!s->v) return -1;
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)header, name, entry) {
        int r = strcmp(name, "__metadata__") == 0 ? read_metadata(s, entry, path, err)
                                                  : read_entry(s, name, entry, data, size, path, err);
        if (r < 0) return -1;
    }
    return check_cover(s, data, size, path, err) < 0 ? -1 : sort_names(s, err);
}

int safetensors_open(struct safetensors *s, const char *path, struct err *err) {
    *s = (struct safetensors){0};
    if (file_map(&s->map, path, err) < 0) return -1;
    uint64_t n = 0;
    json_t *header = NULL;
    json_error_t why;
    int status = -1;
    if (s->map.size >= 8) memcpy(&n, s->map.data, 8);
    if (s->map.size < 8 || n < 2)
        err_set(err, "%s: not a safetensors file: it has no header", path);
    else if (n > HEADER_MAX)
        err_set(err, "%s: not a safetensors file: a header of %llu bytes, at most %d are read", path,
                (unsigned long long)n, HEADER_MAX);
    else if (n > s->map.size - 8)
        err_set(err, "%s: cut short: the header has %llu bytes, the file %zu after its length", path,
                (unsigned long long)n, s->map.size - 8);
    else if (!(header = json_loadb((const char *)s->map.data + 8, n, JSON_REJECT_DUPLICATES, &why)))
        err_set(err, "%s: not a safetensors file: bad JSON at byte %d of the header: %s", path, why.position, why.text);
    else if (!json_is_object(header))
        err_set(err, "%s: not a safetensors file: the header is not a JSON object", path);
    else
        status = read_header(s, header, (size_t)n, path, err);
    json_decref(header);
    if (status < 0) safetensors_close(s);
    return status;
}

void safetensors_close(struct safetensors *s) {
    for (int i = 0; i < s->count; i++) mem_free(s->v[i].name);
    mem_free(s->v);
    mem_free(s->by_name);
    mem_free(s->metadata);
    if (s->map.data) file_unmap(&s->map);
    *s = (struct safetensors){0};
}

const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name) {
    const struct st_tensor key = {.name = (char *)(uintptr_t)name}, *wanted = &key;
    struct st_tensor *const *found =
        s->count ? bsearch(&wanted, s->by_name, (size_t)s->count, sizeof *s->by_name, by_name) : NULL;
    return found ? *found : NULL;
}

/* Data may stand at any address. Pieces are counted first, and only looked through where there is something to find. */
static int64_t count_full(const unsigned char *p, size_t bytes, uint64_t exponent, int64_t n) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = 0;
        memcpy(&x, p + (size_t)i * bytes, bytes);
        found += (x & exponent) == exponent;
    }
    return found;
}

int64_t safetensors_nonfinite(const struct st_tensor *t, int64_t *first) {
    enum { PIECE = 4096 };
    const struct dtype_row *d = find_dtype(t->dtype);
    int64_t n = (int64_t)(t->bytes / d->bytes), found = 0;
    *first = -1;
    if (!d->exponent) return 0;
    for (int64_t at = 0; at < n; at += PIECE) {
        const unsigned char *p = (const unsigned char *)t->data + (size_t)at * d->bytes;
        int64_t some = n - at < PIECE ? n - at : PIECE, here = 0;
        switch (d->bytes) { /* a constant size makes the loop a fast one */
        case 1:
            here = count_full(p, 1, d->exponent, some);
            break;
        case 2:
            here = count_full(p, 2, d->exponent, some);
            break;
        case 4:
            here = count_full(p, 4, d->exponent, some);
            break;
        default:
            here = count_full(p, 8, d->exponent, some);
        }
        for (int64_t i = 0; here && *first < 0; i++)
            if (count_full(p + (size_t)i * d->bytes, d->bytes, d->exponent, 1)) *first = at + i;
        found += here;
    }
    return found;
}

/* ---- writing ---- */

static json_t *entry_json(const struct st_tensor *t, int64_t from) {
    json_t *shape = json_array();
    int bad = 0;
    for (int i = 0; i < t->ndim; i++) bad |= json_array_append_new(shape, json_integer(t->shape[i]));
    if (bad) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", t->dtype, "shape", shape, "data_offsets", (json_int_t)from,
                     (json_int_t)(from + (int64_t)t->bytes));
}

static json_t *header_json(const struct st_tensor *v, int count, const char *const *metadata) {
    json_t *header = json_object();
    int64_t at = 0;
    int bad = 0;
    if (metadata) {
        json_t *meta = json_object();
        for (int i = 0; metadata[i]; i += 2)
            bad |= json_object_set_new(meta, metadata[i], json_string(metadata[i + 1]));
        bad |= json_object_set_new(header, "__metadata__", meta);
    }
    for (int i = 0; i < count; i++) {
        BUG_ON(shape_bytes(v[i].shape, v[i].ndim, dtype_bytes(v[i].dtype)) != (int64_t)v[i].bytes);
        BUG_ON(json_object_get(header, v[i].name));
        bad |= json_object_set_new(header, v[i].name, entry_json(&v[i], at));
        at += (int64_t)v[i].bytes;
    }
    if (!bad) return header;
    json_decref(header);
    return NULL;
}

/* Length, JSON, and spaces up to where the data starts at a multiple of DATA_ALIGN. Caller mem_free()s. */
static char *header_text(const json_t *header, size_t *size, struct err *err) {
    size_t json = json_dumpb(header, NULL, 0, JSON_COMPACT);
    *size = (8 + json + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
    uint64_t n = *size - 8;
    char *text = mem_alloc((int64_t)*size, 1, "the header of a safetensors file", err);
    if (!text) return NULL;
    memset(text, ' ', *size);
    memcpy(text, &n, 8);
    if (json > 0 && json_dumpb(header, text + 8, json, JSON_COMPACT) == json) return text;
    err_set(err, "out of memory for the header of a safetensors file");
    mem_free(text);
    return NULL;
}

char *safetensors_header(const struct st_tensor *v, int count, const char *const *metadata, size_t *size,
                         struct err *err) {
    json_t *header = header_json(v, count, metadata);
    if (!header) err_set(err, "no header of a safetensors file: out of memory, or a name that is not UTF-8");
    char *text = header ? header_text(header, size, err) : NULL;
    json_decref(header);
    return text;
}

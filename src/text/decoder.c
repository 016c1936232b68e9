/* decoder: see the header. As in the tokenizers library, a decoder is a chain of functions from a list of strings to a
 * list of strings; what it leaves is joined. Bytes that form no character become U+FFFD, one per byte after byte
 * fallback, one per maximal subpart after byte level. */
#include "text/decoder.h"
#include <string.h>
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "text/pretoken.h"
#include "text/utf8.h"

void strings_free(struct strings *s) {
    bytes_free(&s->text);
    mem_free(s->end);
}

int strings_end(struct strings *s, struct err *err) {
    if (mem_grow(&s->end, &s->capacity, s->n + 1, sizeof *s->end, "decoded tokens", err) < 0) return -1;
    s->end[s->n++] = s->text.n;
    return 0;
}

static const char *strings_get(const struct strings *s, int64_t i, int64_t *n) {
    int64_t from = i ? s->end[i - 1] : 0;
    *n = s->end[i] - from;
    return s->text.v + from;
}

static int one_char(const char *s, const char *where, struct err *err) {
    int32_t cp;
    if (*s && utf8_get(s, &cp) == (int)strlen(s)) return 0;
    return err_set(err, "%s: expected one character, found \"%.40s\"", where, s);
}

static int load_metaspace(struct decode_step *s, const json_t *v, struct err *err) {
    const char *replacement = "\xE2\x96\x81", *scheme = NULL, *where = "decoder Metaspace";
    bool prefix = true;
    if (json_get_str(v, "replacement", &replacement, false, where, err) < 0 ||
        json_get_str(v, "prepend_scheme", &scheme, false, where, err) < 0 ||
        json_get_bool(v, "add_prefix_space", &prefix, false, where, err) < 0 || one_char(replacement, where, err) < 0) {
        return -1;
    }
    s->kind = DECODE_METASPACE;
    s->start = scheme ? strcmp(scheme, "never") != 0 : prefix;
    s->find = mem_strdup(replacement, err);
    return s->find ? 0 : -1;
}

static int load_strip(struct decode_step *s, const json_t *v, struct err *err) {
    const char *content = NULL, *where = "decoder Strip";
    if (json_get_str(v, "content", &content, true, where, err) < 0 ||
        json_get_int(v, "start", &s->start, 0, 1 << 20, true, where, err) < 0 ||
        json_get_int(v, "stop", &s->stop, 0, 1 << 20, true, where, err) < 0 || one_char(content, where, err) < 0) {
        return -1;
    }
    s->kind = DECODE_STRIP;
    s->find = mem_strdup(content, err);
    return s->find ? 0 : -1;
}

static int load_replace(struct decode_step *s, const json_t *v, struct err *err) {
    const char *find = json_string_value(json_object_get(json_object_get(v, "pattern"), "String")), *put = NULL;
    if (json_get_str(v, "content", &put, true, "decoder Replace", err) < 0) return -1;
    if (find == NULL || *find == 0)
        return err_set(err, "decoder Replace: expected a non-empty \"String\" as \"pattern\"");
    s->kind = DECODE_REPLACE;
    s->find = mem_strdup(find, err);
    s->put = mem_strdup(put, err);
    return s->find && s->put ? 0 : -1;
}

static int load(struct decoder *d, const json_t *v, int depth, struct err *err) {
    const char *type = NULL;
    if (json_get_str(v, "type", &type, true, "decoder", err) < 0) return -1;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(v, "decoders");
        if (!json_is_array(list) || depth > 4) return err_set(err, "decoder Sequence: expected \"decoders\"");
        for (size_t i = 0; i < json_array_size(list); i++) {
            if (load(d, json_array_get(list, i), depth + 1, err) < 0) return -1;
        }
        return 0;
    }
    if (d->n == DECODE_STEPS) return err_set(err, "more than %d decoders", DECODE_STEPS);
    struct decode_step *s = &d->step[d->n++];
    if (strcmp(type, "ByteLevel") == 0) return s->kind = DECODE_BYTE_LEVEL, 0;
    if (strcmp(type, "ByteFallback") == 0) return s->kind = DECODE_BYTE_FALLBACK, 0;
    if (strcmp(type, "Fuse") == 0) return s->kind = DECODE_FUSE, 0;
    if (strcmp(type, "Metaspace") == 0) return load_metaspace(s, v, err);
    if (strcmp(type, "Strip") == 0) return load_strip(s, v, err);
    if (strcmp(type, "Replace") == 0) return load_replace(s, v, err);
    return err_set(
        err,
        "decoder type \"%.40s\" is not supported (known: ByteLevel, ByteFallback, Fuse, Metaspace, Strip, Replace, "
        "Sequence)",
        type);
}

int decoder_load(struct decoder *d, const json_t *v, struct err *err) {
    *d = (struct decoder){0};
    if (v == NULL || json_is_null(v)) return d->spaced = true, 0;
    if (load(d, v, 0, err) == 0) return 0;
    decoder_free(d);
    return -1;
}

void decoder_free(struct decoder *d) {
    for (int i = 0; i < d->n; i++) {
        mem_free(d->step[i].find);
        mem_free(d->step[i].put);
    }
    mem_free(d->unknown);
    *d = (struct decoder){0};
}

/* Bytes of each token (its own text when some character spells no byte), all as one string. */
static int byte_level(const struct strings *in, struct strings *out, struct err *err) {
    struct bytes raw = {0};
    int r = -1;
    for (int64_t i = 0; i < in->n; i++) {
        int64_t n, start = raw.n, k = 0;
        const char *s = strings_get(in, i, &n);
        while (k < n) {
            int32_t cp;
            k += utf8_get(s + k, &cp);
            int byte = byte_level_byte(cp);
            if (byte < 0) break;
            char c = (char)byte;
            if (bytes_push(&raw, &c, 1, err) < 0) goto done;
            if (k == n) start = raw.n;
        }
        if (start == raw.n) continue;
        raw.n = start;
        if (bytes_push(&raw, s, n, err) < 0) goto done;
    }
    if (utf8_clean(&out->text, raw.v, raw.n, err) == 0) r = strings_end(out, err);
done:
    bytes_free(&raw);
    return r;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int decoder_byte_token(const char *s, int64_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0) return -1;
    return hex(s[3]) * 16 + hex(s[4]);
}

/* A run of byte tokens: its text if it is well-formed as a whole, else one U+FFFD per byte. */
static int flush_bytes(struct bytes *run, struct strings *out, struct err *err) {
    if (run->n == 0) return 0;
    if (utf8_valid(run->v, run->n) == run->n) {
        if (bytes_push(&out->text, run->v, run->n, err) < 0) return -1;
    } else {
        for (int64_t i = 0; i < run->n; i++) {
            if (bytes_push(&out->text, "\xEF\xBF\xBD", 3, err) < 0) return -1;
        }
    }
    run->n = 0;
    return strings_end(out, err);
}

static int byte_fallback(const struct strings *in, struct strings *out, struct err *err) {
    struct bytes run = {0};
    int r = 0;
    for (int64_t i = 0; i < in->n && r == 0; i++) {
        int64_t n;
        const char *s = strings_get(in, i, &n);
        int byte = decoder_byte_token(s, n);
        char c = (char)byte;
        if (byte >= 0) {
            r = bytes_push(&run, &c, 1, err);
            continue;
        }
        r = flush_bytes(&run, out, err);
        if (r == 0) r = bytes_push(&out->text, s, n, err);
        if (r == 0) r = strings_end(out, err);
    }
    if (r == 0) r = flush_bytes(&run, out, err);
    bytes_free(&run);
    return r;
}

static int each(const struct decode_step *step, const struct strings *in, struct strings *out, struct err *err) {
    for (int64_t i = 0; i < in->n; i++) {
        int64_t n, width = step->find ? (int64_t)strlen(step->find) : 0;
        const char *s = strings_get(in, i, &n), *put = step->put;
        if (step->kind == DECODE_STRIP) {
            int64_t k = 0;
            for (; k < step->start && n >= width && memcmp(s, step->find, (size_t)width) == 0; k++)
                s += width, n -= width;
            for (k = 0; k < step->stop && n >= width && memcmp(s + n - width, step->find, (size_t)width) == 0; k++)
                n -= width;
            if (bytes_push(&out->text, s, n, err) < 0) return -1;
        } else {
            if (step->kind == DECODE_METASPACE) put = i == 0 && step->start ? "" : " ";
            if (bytes_push_replaced(&out->text, s, n, step->find, put, err) < 0) return -1;
        }
        if (strings_end(out, err) < 0) return -1;
    }
    return 0;
}

static int apply(const struct decode_step *step, const struct strings *in, struct strings *out, struct err *err) {
    switch (step->kind) {
    case DECODE_BYTE_LEVEL:
        return byte_level(in, out, err);
    case DECODE_BYTE_FALLBACK:
        return byte_fallback(in, out, err);
    case DECODE_FUSE:
        return bytes_push(&out->text, in->text.v, in->text.n, err) < 0 ? -1 : strings_end(out, err);
    default:
        return each(step, in, out, err);
    }
}

int decoder_run(const struct decoder *d, struct strings *in, struct bytes *out, struct err *err) {
    struct strings other = {0}, *from = in, *to = &other;
    int r = 0;
    for (int i = 0; i < d->n && r == 0; i++) {
        to->n = to->text.n = 0;
        r = apply(&d->step[i], from, to, err);
        struct strings *last = from;
        from = to;
        to = last;
    }
    if (r == 0) r = bytes_push(out, from->text.v, from->text.n, err);
    strings_free(&other);
    return r;
}

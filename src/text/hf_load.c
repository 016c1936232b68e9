/* hf_load: see the header. What a file asks for and this program does not do is refused by name, never ignored. Post-processors are not read:
 * begin and end ids are the caller's business. Which tokens are begin and end is told by tokenizer_config.json or
 * special_tokens_map.json beside the file, else by the usual names. */
#include "text/hf_load.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "text/rules.h"
#include "text/utf8.h"

static const size_t config_max = 64u << 20, merges_max = 256u << 20;

static int load_vocab(struct rules *rules, const json_t *vocab, struct err *err) {
    const char *key;
    json_t *id;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return err_set(err, "expected an object of tokens as \"vocab\"");
    json_object_foreach((json_t *)vocab, key, id) {
        if (!json_is_integer(id)) return err_set(err, "vocab: token \"%.60s\" has no integer id", key);
        if (vocab_add(&rules->vocab, json_integer_value(id), key, (int64_t)strlen(key), VOCAB_MODEL, err) < 0)
            return -1;
    }
    return 0;
}

static int add_merge(struct rules *rules, struct bytes *joined, int64_t rank, const char *a, int64_t a_n, const char *b,
                     int64_t b_n, struct err *err) {
    joined->n = 0;
    if (bytes_push(joined, a, a_n, err) < 0 || bytes_push(joined, b, b_n, err) < 0) return -1;
    int32_t left = rules_symbol(rules, a, a_n), right = rules_symbol(rules, b, b_n),
            id = rules_symbol(rules, joined->v, joined->n);
    if (left < 0 || right < 0 || id < 0) {
        const char *missing = left < 0 ? a : right < 0 ? b : joined->v;
        int64_t n = left < 0 ? a_n : right < 0 ? b_n : joined->n;
        return err_set(err, "merge %lld: \"%.*s\" is not in the vocabulary", (long long)rank, (int)(n < 60 ? n : 60),
                       missing);
    }
    bpe_add(&rules->bpe, left, right, (int32_t)rank, id);
    return 0;
}

/* "left right" */
static int add_merge_line(struct rules *rules, struct bytes *joined, int64_t rank, const char *line, int64_t n,
                          struct err *err) {
    const char *space = memchr(line, ' ', (size_t)n);
    if (space == NULL || memchr(space + 1, ' ', (size_t)(line + n - space - 1))) {
        return err_set(err, "merge %lld: expected two tokens and a space between them, found \"%.*s\"", (long long)rank,
                       (int)(n < 60 ? n : 60), line);
    }
    return add_merge(rules, joined, rank, line, space - line, space + 1, line + n - space - 1, err);
}

static int load_merges(struct rules *rules, const json_t *merges, struct err *err) {
    struct bytes joined = {0};
    int64_t n = (int64_t)json_array_size(merges);
    int r = 0;
    if (!json_is_array(merges)) return err_set(err, "expected a list as \"merges\"");
    if (n > INT32_MAX / 2) return err_set(err, "%lld merges are too many", (long long)n);
    if (bpe_init(&rules->bpe, n, err) < 0) return -1;
    for (int64_t i = 0; i < n && r == 0; i++) {
        const json_t *m = json_array_get(merges, (size_t)i), *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        if (json_is_string(m)) {
            r = add_merge_line(rules, &joined, i, json_string_value(m), (int64_t)json_string_length(m), err);
        } else if (json_array_size(m) == 2 && json_is_string(a) && json_is_string(b)) {
            r = add_merge(rules, &joined, i, json_string_value(a), (int64_t)json_string_length(a), json_string_value(b),
                          (int64_t)json_string_length(b), err);
        } else {
            r = err_set(err, "merge %lld: expected \"a b\" or [\"a\", \"b\"]", (long long)i);
        }
    }
    bytes_free(&joined);
    return r;
}

static int load_model(struct rules *rules, const json_t *model, struct err *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *dropout = json_object_get(model, "dropout"), *unk = json_object_get(model, "unk_token");
    const char *type = "BPE";
    if (json_get_str(model, "type", &type, false, "model", err) < 0) return -1;
    if (strcmp(type, "BPE") != 0) return err_set(err, "model type \"%.40s\" is not supported, only BPE", type);
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return err_set(err, "BPE dropout is not supported");
    for (int i = 0; i < 2; i++) {
        const char *affix = json_string_value(json_object_get(model, affixes[i]));
        if (affix && *affix) return err_set(err, "\"%s\" is not supported", affixes[i]);
    }
    if (json_get_bool(model, "fuse_unk", &rules->fuse_symbols, false, "model", err) < 0 ||
        json_get_bool(model, "byte_fallback", &rules->byte_fallback, false, "model", err) < 0 ||
        json_get_bool(model, "ignore_merges", &rules->ignore_merges, false, "model", err) < 0 ||
        load_vocab(rules, json_object_get(model, "vocab"), err) < 0 ||
        load_merges(rules, json_object_get(model, "merges"), err) < 0) {
        return -1;
    }
    if (unk == NULL || json_is_null(unk)) return 0;
    if (!json_is_string(unk)) return err_set(err, "model: \"unk_token\" is not a string");
    rules->unknown = rules_symbol(rules, json_string_value(unk), (int64_t)json_string_length(unk));
    return rules->unknown < 0 ? err_set(err, "unk_token \"%.60s\" is not in the vocabulary", json_string_value(unk))
                              : 0;
}

static int add_cut(struct rules *rules, const char *text, int64_t n, const struct added_token *flags, bool normalized,
                   struct err *err) {
    if (!normalized) return added_push(&rules->raw, text, n, flags, err);
    struct bytes buffer[2] = {0};
    struct pattern_scratch *match = NULL;
    struct pretoken_scratch scratch;
    if (pretoken_scratch_init(&scratch, err) < 0) return -1;
    match = scratch.match;
    const char *own = text;
    int64_t own_n = n;
    int r = normalize_run(&rules->normalizer, buffer, match, own, own_n, &text, &n, err);
    if (r == 0 && n > 0) r = added_push(&rules->normal, text, n, flags, err);
    if (n != own_n || memcmp(text, own, (size_t)n) != 0) rules->vocab.token[flags->id].flags |= VOCAB_REWRITTEN;
    pretoken_scratch_free(&scratch);
    bytes_free(&buffer[0]);
    bytes_free(&buffer[1]);
    return r;
}

static int load_added(struct rules *rules, const json_t *list, struct err *err) {
    if (list && !json_is_null(list) && !json_is_array(list)) return err_set(err, "\"added_tokens\" is not a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i), *content = json_object_get(v, "content");
        const char *text = json_string_value(content), *where = "added_tokens";
        int64_t n = (int64_t)json_string_length(content), id = 0;
        bool special = false, normalized = true;
        struct added_token flags = {0};
        if (text == NULL) return err_set(err, "%s: entry %zu has no \"content\"", where, i);
        if (json_get_int(v, "id", &id, 0, VOCAB_MAX - 1, true, where, err) < 0 ||
            json_get_bool(v, "special", &special, false, where, err) < 0 ||
            json_get_bool(v, "normalized", &normalized, false, where, err) < 0 ||
            json_get_bool(v, "lstrip", &flags.lstrip, false, where, err) < 0 ||
            json_get_bool(v, "rstrip", &flags.rstrip, false, where, err) < 0 ||
            json_get_bool(v, "single_word", &flags.single_word, false, where, err) < 0) {
            return -1;
        }
        if (n == 0) continue;
        int32_t known = vocab_find(&rules->vocab, text, n);
        if (known >= 0 && known != id) {
            return err_set(err, "token \"%.60s\" has the id %d in the vocabulary and %lld in added_tokens", text, known,
                           (long long)id);
        }
        if (known < 0 && vocab_add(&rules->vocab, id, text, n, 0, err) < 0) return -1;
        if (special) rules->vocab.token[id].flags |= VOCAB_SPECIAL;
        flags.id = (int32_t)id;
        if (add_cut(rules, text, n, &flags, normalized, err) < 0) return -1;
    }
    return 0;
}

static void find_bytes(struct rules *rules) {
    for (int b = 0; b < 256; b++) {
        char text[8];
        int n = rules->pretoken.byte_level ? utf8_put(text, byte_level_char(b))
                                           : snprintf(text, sizeof text, "<0x%02X>", b);
        rules->byte_id[b] = rules->pretoken.byte_level || rules->byte_fallback ? rules_symbol(rules, text, n) : -1;
    }
}

static int32_t find(const struct rules *rules, const char *token) {
    return rules_find(rules, token, (int64_t)strlen(token));
}

/* "bos_token": "<s>" or {"content": "<s>", ...} or null. 1 when the key is there. */
static int role_in(const struct rules *rules, const json_t *config, const char *key, int32_t *id) {
    const json_t *v = json_object_get(config, key);
    if (v == NULL) return 0;
    if (json_is_object(v)) v = json_object_get(v, "content");
    *id = json_is_string(v) ? find(rules, json_string_value(v)) : -1;
    return 1;
}

static int32_t first_of(const struct rules *rules, const char *const *names) {
    int32_t id = -1;
    while (*names && id < 0) id = find(rules, *names++);
    return id;
}

static int find_roles(struct rules *rules, const char *path, uint64_t *digest, struct err *err) {
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    static const char *const begins[] = {"<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>", "[BOS]", NULL};
    static const char *const ends[] = {"</s>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<eos>", "[EOS]",
                                       NULL};
    const char *slash = strrchr(path, '/');
    bool begin = false, end = false;
    for (int i = 0; i < 2; i++) {
        char name[FILE_PATH_MAX];
        int n = snprintf(name, sizeof name, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, files[i]);
        if (n >= (int)sizeof name || !file_exists(name)) continue;
        json_t *config = json_read_file(name, config_max, err);
        if (config == NULL) return -1;
        if (!begin) begin = role_in(rules, config, "bos_token", &rules->bos);
        if (!end) end = role_in(rules, config, "eos_token", &rules->eos);
        json_decref(config);
    }
    int32_t usual[2] = {first_of(rules, begins), first_of(rules, ends)};
    if (!end) rules->eos = usual[1];
    if (!begin) rules->bos = usual[0];
    /* GPT-2 has one token for both. */
    int32_t both = find(rules, "<|endoftext|>");
    if (!begin && rules->bos < 0 && rules->eos >= 0 && rules->eos == both) rules->bos = rules->eos;
    if (usual[0] < 0 && usual[1] == both) usual[0] = both;
    if (rules->bos != usual[0] || rules->eos != usual[1]) { /* the file's bytes do not say so */
        *digest = hash_add(*digest, &rules->bos, sizeof rules->bos);
        *digest = hash_add(*digest, &rules->eos, sizeof rules->eos);
    }
    return 0;
}

/* merges.txt: a line "#version ...", then one merge per line. */
static int load_merges_txt(struct rules *rules, const char *vocab_path, uint64_t *digest, struct err *err) {
    char path[FILE_PATH_MAX];
    const char *slash = strrchr(vocab_path, '/');
    char *data = NULL;
    size_t size;
    struct bytes joined = {0};
    int64_t lines = 0, rank = 0;
    int r = 0, n = snprintf(path, sizeof path, "%.*smerges.txt", slash ? (int)(slash - vocab_path) + 1 : 0, vocab_path);
    if (n >= (int)sizeof path) return err_set(err, "path is too long");
    if (file_read(&data, &size, path, merges_max, err) < 0) return -1;
    for (size_t i = 0; i < size; i++) lines += data[i] == '\n';
    r = bpe_init(&rules->bpe, lines + 1, err);
    for (const char *line = data, *end = data + size; line < end && r == 0;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        int64_t len = (stop ? stop : end) - line;
        const char *next = line + len + 1;
        if (len > 0 && line[len - 1] == '\r') len--;
        bool skip = len == 0 || (len >= 8 && memcmp(line, "#version", 8) == 0);
        if (!skip) r = add_merge_line(rules, &joined, rank++, line, len, err);
        line = next;
    }
    *digest = hash_add(*digest, data, size);
    if (r < 0) err_prefix(err, "%s", path);
    mem_free(data);
    bytes_free(&joined);
    return r;
}

/* GPT-2's own form: the rules are not in the files. */
static int load_gpt2(struct rules *rules, const json_t *vocab, const char *path, uint64_t *digest, struct err *err) {
    struct added_token end = {.id = -1};
    if (load_vocab(rules, vocab, err) < 0 || load_merges_txt(rules, path, digest, err) < 0 ||
        pretoken_gpt2(&rules->pretoken, err) < 0)
        return -1;
    rules->decoder.n = 1;
    rules->decoder.step[0].kind = DECODE_BYTE_LEVEL;
    end.id = rules_symbol(rules, "<|endoftext|>", 13);
    if (end.id < 0) return 0;
    rules->vocab.token[end.id].flags |= VOCAB_SPECIAL;
    return added_push(&rules->raw, "<|endoftext|>", 13, &end, err);
}

static int load_json(struct rules *rules, const json_t *v, struct err *err) {
    if (load_model(rules, json_object_get(v, "model"), err) < 0 ||
        normalize_load(&rules->normalizer, json_object_get(v, "normalizer"), err) < 0 ||
        pretoken_load(&rules->pretoken, json_object_get(v, "pre_tokenizer"), err) < 0 ||
        decoder_load(&rules->decoder, json_object_get(v, "decoder"), err) < 0) {
        return -1;
    }
    return load_added(rules, json_object_get(v, "added_tokens"), err);
}

int hf_load(struct rules *rules, const char *data, int64_t n, const char *path, uint64_t *digest, struct err *err) {
    json_error_t where;
    json_t *v = json_loadb(data, (size_t)n, 0, &where);
    if (v == NULL) return err_set(err, "line %d, column %d: %s", where.line, where.column, where.text);
    const json_t *model = json_object_get(v, "model");
    int r;
    rules->name = json_is_object(model) ? TOKENIZER_JSON : TOKENIZER_VOCAB;
    if (json_is_object(model))
        r = load_json(rules, v, err);
    else if (json_object_size(v) > 0 && json_is_integer(json_object_iter_value(json_object_iter(v)))) {
        r = load_gpt2(rules, v, path, digest, err);
    } else {
        r = err_set(err, "not a tokenizer: expected \"model\" (tokenizer.json) or tokens with their ids (vocab.json)");
    }
    json_decref(v);
    if (r < 0) return -1;
    rules->size = rules->vocab.n;
    find_bytes(rules);
    if (added_done(&rules->raw, err) < 0 || added_done(&rules->normal, err) < 0) return -1;
    return find_roles(rules, path, digest, err);
}

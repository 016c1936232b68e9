/* form: see form.h. It judges the beginning of a file alone. */
#include "data/form.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/input.h"
#include "base/records.h"
#include "text/utf8.h"

static const struct {
    const char *magic;
    int at, n;
    const char *advice;
} refused[] = {
    {"\xfd"
     "7zXZ",
     0, 5, "xz data: unpack it with `xz -d` first"},
    {"BZh", 0, 3, "bzip2 data: unpack it with `bunzip2` first"},
    {"PK\3\4", 0, 4, "a zip archive: unpack it first"},
    {"7z\xbc\xaf", 0, 4, "a 7z archive: unpack it first"},
    {"\x04\x22\x4d\x18", 0, 4, "lz4 data: unpack it with `lz4 -d` first"},
    {"ustar", 257, 5, "a tar archive: unpack it first"},
    {"\xff\xfe", 0, 2, "UTF-16 text: convert it with `iconv -t UTF-8` first"},
    {"\xfe\xff", 0, 2, "UTF-16 text: convert it with `iconv -t UTF-8` first"},
    {"%PDF-", 0, 5, "a PDF document: extract its text first"},
    {"LITPKDS", 0, 7, "a chunk file: it holds tokens already"},
    {"PAR1", 0, 4, "Parquet that is packed or comes through a pipe: it is read from a file of its own"},
};

/* The name's end without what says that it is packed. */
static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    if (n > 4 && strcasecmp(name + n - 4, ".zst") == 0) n -= 4;
    if (n > 3 && strncasecmp(name + n - 3, ".gz", 3) == 0) n -= 3;
    return n >= m && strncasecmp(name + n - m, end, m) == 0;
}

static bool is_one_of(const char *name, const char *const *ends) {
    for (; *ends; ends++)
        if (ends_in(name, *ends)) return true;
    return false;
}

/* What is no text, or text in another encoding, is full of bytes that no text in UTF-8 has; a few may be damage, which
 * the tokenizer bears. The last character may be cut off. */
static int check_text(const char *p, int64_t n, const char *path, struct err *err) {
    enum { FEW = 8 };
    int64_t bad = 0;
    for (int64_t i = 0, step; i < n; i += step) {
        int32_t character;
        step = utf8_next(p + i, n - i, &character);
        if (p[i] == 0 || (character < 0 && i + step < n)) bad += step;
    }
    if (bad <= FEW || bad * 10 <= n) return 0;
    return err_set(err,
                   "%s: not text in UTF-8: of its first %lld bytes %lld are zero or no part of a character; if it is "
                   "text in another encoding, convert it with `iconv -f ENCODING -t UTF-8` first",
                   path, (long long)n, (long long)bad);
}

int form_find(enum form *form, struct records *r, const char *path, struct err *err) {
    static const char *const text[] = {".txt", ".text", ".md", NULL}, *const json[] = {".jsonl", ".ndjson", ".json",
                                                                                       NULL};
    const char *p;
    int64_t n;
    if (records_peek(r, &p, &n, err) < 0) return -1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (n >= refused[i].at + refused[i].n && memcmp(p + refused[i].at, refused[i].magic, (size_t)refused[i].n) == 0)
            return err_set(err, "%s: this is %s", path, refused[i].advice);
    if (ends_in(path, ".parquet"))
        return err_set(err, "%s: not a Parquet file, though it is called so: it does not begin with PAR1", path);
    if (check_text(p, n, path, err) < 0) return -1;
    const char *first = p, *end = p + n;
    while (first < end && strchr(" \t\r\n", *first) && *first) first++;
    *form = first < end && *first == '{' ? FORM_JSON_LINES : FORM_TEXT;
    if (is_one_of(path, text)) *form = FORM_TEXT;
    if (is_one_of(path, json)) *form = first < end && *first == '[' ? FORM_JSON_ARRAY : FORM_JSON_LINES;
    if (ends_in(path, ".tsv")) *form = FORM_TSV;
    if (ends_in(path, ".lst")) *form = FORM_LIST;
    return 0;
}

/* Parquet has its own mark at the file's very start, and is read from its end: a pipe holds none. 1 or 0, or -1 with
 * err. */
int form_is_parquet(const char *path, struct err *err) {
    struct input in;
    struct stat st;
    char mark[4] = "";
    if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) return 0;
    if (input_open(&in, path, err) < 0) return -1;
    int r = in.size >= 12 ? input_read(&in, mark, 4, 0, err) : 0;
    input_close(&in);
    return r < 0 ? -1 : memcmp(mark, "PAR1", 4) == 0 || memcmp(mark, "PARE", 4) == 0;
}

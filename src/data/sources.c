/* sources: walks folders and expands patterns. What a file holds is found out later, by the reader; only in folders the
 * name decides, so that licences, descriptions and pictures that lie between the texts are left alone. */
#include "data/sources.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { DEPTH_MAX = 32 };

static bool known_form(const char *name) {
    static const char *const ends[] = {".txt", ".text", ".md", ".jsonl", ".ndjson", ".json", ".parquet", ".zst", ".gz"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && strcasecmp(name + n - m, ends[i]) == 0) return name[0] != '.';
    }
    return false;
}

bool sources_about_data(const char *name) {
    static const char *const papers[] = {"readme", "license",   "licence",     "copying",
                                         "notice", "changelog", "contributing"};
    static const char *const exact[] = {
        "dataset_info.json", "dataset_infos.json",      "dataset_dict.json", "tokenizer.json",        "vocab.json",
        "merges.txt",        "special_tokens_map.json", "manifest.json",     "tokenizer_config.json", "config.json",
        "state.json"};
    for (size_t i = 0; i < sizeof papers / sizeof *papers; i++) {
        size_t n = strlen(papers[i]); /* the whole first word: licenses.jsonl may be texts */
        if (strncasecmp(name, papers[i], n) == 0 && (!name[n] || strchr(".-_", name[n]))) return true;
    }
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (strcmp(name, exact[i]) == 0) return true;
    return false;
}

static int add_file(struct sources *s, const char *path, struct err *err) {
    int64_t size = file_size(path, err);
    if (size < 0 || mem_grow(&s->paths, &s->capacity, s->n + 1, sizeof *s->paths, "list of files", err) < 0 ||
        mem_grow(&s->sizes, &s->sizes_capacity, s->n + 1, sizeof *s->sizes, "list of files", err) < 0)
        return -1;
    s->paths[s->n] = mem_strdup(path, err);
    if (!s->paths[s->n]) return -1;
    s->sizes[s->n++] = size;
    s->bytes += size;
    return 0;
}

static int add_folder(struct sources *s, const char *dir, int depth, struct err *err) {
    char **names, path[FILE_PATH_MAX];
    int64_t count;
    int r = 0;
    if (depth > DEPTH_MAX) return err_set(err, "%s: folders nested more than %d deep: a loop?", dir, DEPTH_MAX);
    if (file_list(&names, &count, dir, err) < 0) return -1;
    for (int64_t i = 0; i < count && r == 0; i++) {
        struct stat st;
        r = file_join(path, dir, names[i], err);
        if (r < 0 || names[i][0] == '.') continue;
        if (file_is_dir(path))
            r = add_folder(s, path, depth + 1, err);
        else if (known_form(names[i]) && !sources_about_data(names[i]) && stat(path, &st) == 0 && S_ISREG(st.st_mode))
            r = add_file(s, path, err);
        else
            s->passed++;
    }
    file_list_free(names, count);
    return r;
}

static int add_pattern(struct sources *s, const char *pattern, struct err *err) {
    glob_t g;
    int r = glob(pattern, GLOB_ERR, NULL, &g);
    if (r == GLOB_NOMATCH) return err_set(err, "%s: no file matches", pattern);
    if (r != 0) return err_set(err, "%s: cannot look for what matches: a folder cannot be read, or no memory", pattern);
    for (size_t i = 0; i < g.gl_pathc && r == 0; i++)
        r = file_is_dir(g.gl_pathv[i]) ? add_folder(s, g.gl_pathv[i], 0, err) : add_file(s, g.gl_pathv[i], err);
    globfree(&g);
    return r;
}

static bool is_pipe(const char *operand) {
    struct stat st;
    return !strcmp(operand, "-") || (stat(operand, &st) == 0 && S_ISFIFO(st.st_mode));
}

int sources_add(struct sources *s, const char *operand, struct err *err) {
    int64_t before = s->n;
    if (is_pipe(operand))
        return err_set(err, "%s: a pipe is read only once: write it into a file first (… | zstd >documents.jsonl.zst)",
                       operand);
    if (file_is_dir(operand)) {
        if (add_folder(s, operand, 0, err) < 0) return -1;
        if (s->n == before)
            return err_set(
                err,
                "%s: no file of text, JSON lines or Parquet in it or below (.txt, .text, .md, .jsonl, .ndjson, "
                ".json, .parquet; .zst, .gz)",
                operand);
        return 0;
    }
    if (!file_exists(operand) && strpbrk(operand, "*?[")) return add_pattern(s, operand, err);
    return add_file(s, operand, err);
}

struct identity {
    dev_t device;
    ino_t inode;
    const char *path;
};

static int by_file(const void *a, const void *b) {
    const struct identity *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

int sources_check(const struct sources *s, struct err *err) {
    struct identity *files = mem_alloc(s->n, sizeof *files, "list of files", err);
    int r = files ? 0 : -1;
    for (int64_t i = 0; i < s->n && r == 0; i++) {
        struct stat st;
        if (stat(s->paths[i], &st) < 0) r = err_set(err, "cannot open '%s': %s", s->paths[i], strerror(errno));
        if (r == 0) files[i] = (struct identity){st.st_dev, st.st_ino, s->paths[i]};
    }
    if (r == 0 && s->n) qsort(files, (size_t)s->n, sizeof *files, by_file);
    for (int64_t i = 1; i < s->n && r == 0; i++)
        if (by_file(&files[i - 1], &files[i]) == 0)
            r = strcmp(files[i - 1].path, files[i].path) == 0
                    ? err_set(err, "%s: named twice", files[i].path)
                    : err_set(err, "%s and %s are one file", files[i - 1].path, files[i].path);
    mem_free(files);
    return r;
}

void sources_free(struct sources *s) {
    for (int64_t i = 0; i < s->n; i++) mem_free(s->paths[i]);
    mem_free(s->paths);
    mem_free(s->sizes);
    memset(s, 0, sizeof *s);
}

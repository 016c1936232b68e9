/* file: reading with bounds, writing so that a crash leaves the old file or the new one.
 *
 *     struct file_out *out = file_out_open("run/model.safetensors", &err);
 *     file_out_write(out, data, n, &err); …
 *     file_out_commit(out, &err);          // flush, fsync, rename over the final name, fsync of the folder
 *
 * Until the commit the data is in `<path>.tmp.<16 hex digits>`, which its writer holds by flock(); file_out_abort() (or a
 * failed commit) removes it. What a killed program leaves has such a name and no holder: whoever owns a folder calls
 * file_sweep().
 * All messages name the file. Reads and writes pass through base/fault.h. EINTR and short transfers are handled. */
#ifndef MDM_BASE_FILE_H
#define MDM_BASE_FILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct file_out;

struct file_map {
    const unsigned char *data; /* size bytes, read-only, page-aligned; never NULL after success (empty file: size 0) */
    size_t size;
};

/* Map a regular file (a folder, a pipe, an unreadable path: clear error). Caller file_unmap()s. */
int file_map(struct file_map *m, const char *path, struct err *err);
void file_unmap(struct file_map *m);
/* Whole file into memory, at most `max` bytes (more is an error that names the cap). *data is NUL-terminated beyond
 * *size; caller mem_free()s it. */
int file_read(char **data, size_t *size, const char *path, size_t max, struct err *err);
/* Read exactly n bytes at `offset`; a short file is an error. */
int file_read_at(int fd, void *buf, size_t n, int64_t offset, const char *path, struct err *err);

struct file_out *file_out_open(const char *path, struct err *err);
int file_out_write(struct file_out *f, const void *data, size_t n, struct err *err); /* buffered */
int file_out_printf(struct file_out *f, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int file_out_commit(struct file_out *f, struct err *err); /* frees f, also on failure */
void file_out_abort(struct file_out *f);                  /* frees f; NULL is fine */
/* Several processes that write one file: one opens it and tells the others its temporary name; all write at places of
 * their own; the others commit, which reaches the disk, and last the one that opened it, which renames. */
const char *file_out_temp(const struct file_out *f);
struct file_out *file_out_join(const char *temp, struct err *err);
int file_out_write_at(struct file_out *f, const void *data, size_t n, int64_t offset, struct err *err);
/* file_out_open(), _write() and _commit() for a whole buffer. */
int file_write(const char *path, const void *data, size_t n, struct err *err);
/* After a file was made or renamed: its folder reaches the disk too, and with it the name. */
int file_sync_folder(const char *path, struct err *err);

bool file_exists(const char *path);
bool file_is_dir(const char *path);
/* Size in bytes of a regular file, or -1 with err. */
int64_t file_size(const char *path, struct err *err);
/* Like mkdir -p. */
int file_mkdirs(const char *path, struct err *err);
/* Names in a folder (no "." and ".."), sorted by byte order. Caller frees with file_list_free(). */
int file_list(char ***names, int64_t *count, const char *path, struct err *err);
void file_list_free(char **names, int64_t count);
/* Is it a temporary name? */
bool file_is_temporary(const char *name);
/* Removes the temporary files in a folder that nobody is writing any more; where the file system has no locks, none. What
 * cannot be removed, or a folder that is not there, is no failure. */
void file_sweep(const char *folder);
/* "a" + "b" → "a/b" in a caller's buffer of FILE_PATH_MAX; too long is an error. */
#define FILE_PATH_MAX 4096
int file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, struct err *err);
/* Copy a regular file, atomically at the destination. */
int file_copy(const char *from, const char *to, struct err *err);

#endif

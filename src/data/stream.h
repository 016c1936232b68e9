/* stream: the bytes of a regular file in order, unpacked when it is zstd or gzip (told from its first bytes).
 *
 *     struct stream *s = stream_open(path, &err);
 *     while ((n = stream_read(s, buf, sizeof buf, &err)) > 0) use(buf, n);
 *     stream_close(s);
 *
 * zstd: any number of frames, skippable frames, windows up to 2 GiB. gzip: any number of members, zero padding after
 * them. */
#ifndef MDM_DATA_STREAM_H
#define MDM_DATA_STREAM_H
#include <stddef.h>
#include <stdint.h>

struct err;
struct stream;

struct stream *stream_open(const char *path, struct err *err);
/* Up to n >= 1 bytes; 0 at the end, -1 with err (damaged, cut short, unreadable). */
int64_t stream_read(struct stream *s, void *buf, int64_t n, struct err *err);
int64_t stream_consumed(const struct stream *s); /* bytes of the file read so far */
void stream_close(struct stream *s);             /* NULL is fine */

#endif

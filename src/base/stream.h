/* stream: the bytes of a file in order, unpacked when it is zstd or gzip (told from its first bytes).
 *
 *     struct stream *s = stream_open(path, &err);                            // "-": standard input
 *     while ((n = stream_read(s, buf, sizeof buf, &err)) > 0) use(buf, n);
 *     stream_close(s);
 *
 * zstd: any number of frames, skippable frames, windows up to 2 GiB. gzip: any number of members, zero padding after
 * them. From a pipe bytes are handed on as they come, once they are known to be no mark of zstd or gzip;
 * stream_open() does not wait for them. */
#ifndef MDM_BASE_STREAM_H
#define MDM_BASE_STREAM_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct stream;

struct stream *stream_open(const char *path, struct err *err);
/* Up to n >= 1 bytes; 0 at the end, -1 with err (damaged, cut short, unreadable). */
int64_t stream_read(struct stream *s, void *buf, int64_t n, struct err *err);
bool stream_waits(const struct stream *s);       /* is nothing there that could be read at once? Of a pipe */
int64_t stream_consumed(const struct stream *s); /* bytes of the file read so far */
const char *stream_name(const struct stream *s); /* for messages: the path, or "standard input" */
void stream_close(struct stream *s);             /* NULL is fine */

#endif

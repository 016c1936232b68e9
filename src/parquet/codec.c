/* codec: each codec's library, held to the sizes that the page header gives. Every one of them must fill the
 * page exactly. LZO is not read: no writer of text uses it. */
#include "parquet/codec.h"

#include <brotli/decode.h>
#include <lz4.h>
#include <snappy-c.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { NONE, SNAPPY, GZIP, LZO, BROTLI, LZ4_HADOOP, ZSTD, LZ4_RAW };

static bool unpack_snappy(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    size_t found = 0;
    if (snappy_uncompressed_length((const char *)in, (size_t)n, &found) != SNAPPY_OK || found != (size_t)size)
        return false;
    return snappy_uncompress((const char *)in, (size_t)n, (char *)out, &found) == SNAPPY_OK && found == (size_t)size;
}

/* gzip members, one after another, or a bare zlib stream. */
static bool unpack_gzip(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)in, .next_out = out};
    z.avail_in = (uInt)n;
    z.avail_out = (uInt)size;
    if (inflateInit2(&z, 15 + 32) != Z_OK) return false;
    int r = Z_STREAM_END;
    while (r == Z_STREAM_END && z.avail_in > 0) {
        r = inflate(&z, Z_FINISH);
        if (r == Z_STREAM_END && z.avail_in > 0) inflateReset(&z);
    }
    inflateEnd(&z);
    return r == Z_STREAM_END && z.avail_out == 0;
}

static bool unpack_brotli(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    size_t found = (size_t)size;
    return BrotliDecoderDecompress((size_t)n, in, &found, out) == BROTLI_DECODER_RESULT_SUCCESS &&
           found == (size_t)size;
}

static bool unpack_zstd(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    return ZSTD_decompress(out, (size_t)size, in, (size_t)n) == (size_t)size;
}

static bool unpack_lz4(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    return n <= INT32_MAX && size <= INT32_MAX &&
           LZ4_decompress_safe((const char *)in, (char *)out, (int)n, (int)size) == size;
}

static int64_t big_endian(const unsigned char *p) {
    return (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* Hadoop: blocks of [unpacked size, big-endian] ([packed size] [lz4 data])…, until the unpacked size is there. Early
 * writers left the sizes out: then the page is plain lz4. */
static bool unpack_lz4_hadoop(const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    const unsigned char *p = in, *end = in + n;
    int64_t done = 0;
    while (end - p >= 8 && done < size) {
        int64_t block = big_endian(p);
        p += 4;
        if (block > size - done) break;
        while (block > 0 && end - p >= 4) {
            int64_t packed = big_endian(p);
            p += 4;
            if (packed > end - p) return unpack_lz4(in, n, out, size);
            int m = LZ4_decompress_safe((const char *)p, (char *)out + done, (int)packed, (int)block);
            if (m <= 0) return unpack_lz4(in, n, out, size);
            p += packed;
            done += m;
            block -= m;
        }
        if (block > 0) break;
    }
    return (done == size && p == end) || unpack_lz4(in, n, out, size);
}

const char *parquet_unpack(int codec, const unsigned char *in, int64_t n, unsigned char *out, int64_t size) {
    bool good = false;
    switch (codec) {
    case NONE:
        if (n != size) return "an uncompressed page with two sizes";
        memcpy(out, in, (size_t)n);
        return NULL;
    case SNAPPY:
        good = unpack_snappy(in, n, out, size);
        break;
    case GZIP:
        good = unpack_gzip(in, n, out, size);
        break;
    case BROTLI:
        good = unpack_brotli(in, n, out, size);
        break;
    case LZ4_HADOOP:
        good = unpack_lz4_hadoop(in, n, out, size);
        break;
    case ZSTD:
        good = unpack_zstd(in, n, out, size);
        break;
    case LZ4_RAW:
        good = unpack_lz4(in, n, out, size);
        break;
    case LZO:
        return "LZO compression, which is not read here";
    default:
        return "an unknown compression";
    }
    return good ? NULL : "compressed data that cannot be unpacked to its stated size";
}

/* codec: unpacks a page: none, snappy, gzip, brotli, lz4 as Hadoop frames it, zstd, lz4_raw. */
#ifndef MDM_PARQUET_CODEC_H
#define MDM_PARQUET_CODEC_H
#include <stdint.h>

/* n bytes at `in` to exactly `size` bytes at `out`. NULL when that worked, else what is wrong, in a few words. */
const char *parquet_unpack(int codec, const unsigned char *in, int64_t n, unsigned char *out, int64_t size);

#endif

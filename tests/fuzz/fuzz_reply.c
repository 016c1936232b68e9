/* Fuzz target: any bytes as what a judge's server replies. The key is in nothing that comes of it. How a reply is read
 * is chatapi's own, so that its source is a part of this program. */
#include "fuzz_file.h"

#include <string.h>

#include "eval/chatapi.c"
#include "eval/mtbench.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct chatapi_settings s = {.key = "sk-1"};
    struct chatapi_result result = {0};
    struct exchange r = {.s = &s, .result = &result, .url = "http://judge"};
    struct slot slot = {0};
    struct err err = {{0}};
    if (receive((char *)data, 1, size, &slot) != size) abort();
    char *text = answer_text(&r, &slot);
    if (text) {
        const double score = mt_score(text);
        if (!*text || strstr(text, s.key) || !(score >= -1) || !mt_winner(text)) abort();
    }
    mem_free(text);
    explain(&r, &slot, CURLE_OK, 500, &err);
    if (!err.msg[0] || strchr(err.msg, '\n') || strstr(err.msg, s.key)) abort();
    bytes_free(&slot.body);
    if (mem_in_use() != 0) abort();
    return 0;
}

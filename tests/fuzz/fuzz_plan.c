/* Fuzz target: a scaling law's folder whose plan.json is any bytes. */
#include "fuzz_file.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "scaling/campaign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct campaign c;
    struct config config;
    struct err err = {{0}};
    if (campaign_read(&c, fuzz_folder("plan.json", data, size), &err) == 0) {
        if (c.n < 1 || c.settings.nbudgets < 1 || !c.settings.data) abort();
        for (int64_t i = 0; i < c.n; i++) {
            if (!c.v[i].name[0] || strchr(c.v[i].name, '/')) abort();
            err.msg[0] = 0;
            if (campaign_config(&config, &c, &c.v[i], &err) < 0 && !err.msg[0]) abort();
        }
        campaign_free(&c);
    } else if (!err.msg[0]) {
        abort();
    }
    if (mem_in_use() != 0) abort();
    return 0;
}

/* comm_exchange() of pieces that take several messages: comm_mpi.c with messages of at most 1000 bytes. Run by
 * test_exchange.sh as ranks of mpirun. */
#define COMM_CHUNK 1000
#include "comm/comm_mpi.c"

#include <stdio.h>

#include "base/mem.h"

/* Bytes from one rank to another in a round: none, less than a message, whole messages, and more. */
static int64_t bytes_of(int from, int to, int round) {
    static const int64_t sizes[] = {0, 1, COMM_CHUNK, 3 * COMM_CHUNK - 1, 17, 2 * COMM_CHUNK + 1, COMM_CHUNK + 1};
    return sizes[(from * 3 + to * 5 + round) % 7] * (from == to ? 0 : 1);
}

static unsigned char byte_of(int from, int to, int round, int64_t i) {
    return (unsigned char)(from * 31 + to * 17 + round * 7 + i % 251);
}

static int wrong_bytes(int round) {
    enum { MOST = 4 * COMM_CHUNK };
    static unsigned char out[8][MOST], in[8][MOST];
    struct comm_piece to[8], from[8];
    int wrong = 0;
    for (int r = 0; r < ranks; r++) {
        to[r] = (struct comm_piece){out[r], bytes_of(rank, r, round)};
        from[r] = (struct comm_piece){in[r], bytes_of(r, rank, round)};
        for (int64_t i = 0; i < to[r].bytes; i++) out[r][i] = byte_of(rank, r, round, i);
        memset(in[r], 0xee, sizeof in[r]);
    }
    comm_exchange(to, from);
    for (int r = 0; r < ranks; r++) {
        for (int64_t i = 0; i < from[r].bytes; i++) wrong += in[r][i] != byte_of(r, rank, round, i);
        wrong += from[r].bytes < MOST && in[r][from[r].bytes] != 0xee;
    }
    return wrong;
}

int main(void) {
    struct err err = {{0}};
    if (comm_start(&err) < 0 || ranks > 8) return 1;
    int wrong = 0;
    for (int round = 0; round < 7; round++) wrong += wrong_bytes(round);
    const int all = comm_agree(wrong);
    if (rank == 0) printf("%d ranks, %d wrong\n", ranks, all);
    comm_end();
    return all != 0;
}

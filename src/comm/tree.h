/* tree: sums whose bits do not depend on how many processes share the adding.
 *
 * What is added has numbers, the leaves 0, 1, … of a binary tree: the sum of leaves [i, i + 2n), where i is a multiple of 2n,
 * is the sum of [i, i + n) plus that of [i + n, i + 2n); what no such range covers at the end is added from the right. Rank r
 * of R has the leaves from r·leaves/R up to (r + 1)·leaves/R, so that the blocks of the tree that are its alone are few.
 *
 *     struct tree_block stack[TREE_DEPTH];
 *     for (i = tree_first(leaves, rank); i < tree_first(leaves, rank + 1); i++) {
 *         …                                        // leaf i into v[n]
 *         stack[n++] = (struct tree_block){i, 1};
 *         while (tree_joins(stack, n)) add v[n - 1] to v[n - 2], n = tree_join(stack, n);
 *     }
 *     tree_sum(v[0], v, leaves, slice, room, &wire);      // and with the other ranks'
 */
#ifndef MDM_COMM_TREE_H
#define MDM_COMM_TREE_H
#include <stdbool.h>
#include <stdint.h>

struct wire;

enum { TREE_DEPTH = 40, TREE_ROOM = 1 << 22 /* floats of a sum that are on their way at once */ };
struct tree_block { /* leaves [first, first + count), added up */
    int64_t first, count;
};
/* Are the last two of n blocks the halves of one? Then their sum takes their place; returns n - 1. */
bool tree_joins(const struct tree_block *stack, int n);
int tree_join(struct tree_block *stack, int n);

int64_t tree_first(int64_t leaves, int rank);
/* The same of any number of ranks. */
int64_t tree_share(int64_t leaves, int ranks, int rank);
/* The blocks that a rank has, and how many. */
int tree_blocks(struct tree_block out[TREE_DEPTH], int64_t leaves, int ranks, int rank);
/* The most blocks that stand at once while that rank's leaves are added. */
int tree_standing(int64_t leaves, int ranks, int rank);

/* Adds up the blocks of all ranks. v[k]: block k of this rank, over the elements [0, slice[ranks]). The sum of elements
 * [slice[rank], slice[rank + 1]) goes to `out`, which may be this range of a block. room: floats, tree_room(); the wire's:
 * tree_wire(). */
void tree_sum(float *out, float *const *v, int64_t leaves, const int64_t *slice, float *room, const struct wire *wire);
int64_t tree_room(int64_t leaves, int ranks);
int64_t tree_wire(int64_t leaves, int ranks);
/* How many exchanges tree_sum() is, where the longest slice has so many elements. */
int64_t tree_exchanges(int64_t leaves, int ranks, int64_t longest);
/* The same of one number a block, on all ranks; and of one a leaf, on this rank alone. */
double tree_sum_f64(const double *v, int64_t leaves);
double tree_fold_f64(const double *v, int64_t leaves);

#endif

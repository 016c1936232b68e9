#!/bin/bash
# Pieces longer than a message of MPI: messages are made short instead (test_exchange.c).
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
for n in 2 3; do
    mpirun -n $n "$(dirname "$mdm")/tests/mpi/test_exchange" >out 2>err || fail "$n ranks"
    grep -q "^$n ranks, 0 wrong" out || fail "$n ranks: other bytes than were sent"
done
exit $bad

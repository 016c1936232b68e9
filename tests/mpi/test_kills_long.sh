#!/bin/bash
# test_watch.sh with the number of kills that is promised.
KILLS=50 exec bash tests/mpi/test_watch.sh "$1"

# The whole build. `make help` lists the targets.
#   BUILD=release|debug|asan|tsan   CC=gcc|clang   MPI=0|1   V=1 shows the commands
BUILD ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
MPI ?= 0
PREFIX ?= /usr/local
V ?= 0
Q := $(if $(filter 0,$(V)),@)

# Objects of each combination live apart; `build/mdm` is the release build by gcc, the one the README uses.
O := build$(if $(filter-out release,$(BUILD)),-$(BUILD))$(if $(filter-out gcc,$(CC)),-$(CC))$(if $(filter 1,$(MPI)),-mpi)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-missing-field-initializers -Wno-stringop-overread -Wno-psabi
ifneq ($(findstring clang,$(CC)),)
WARN += -Wno-unknown-warning-option
endif
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread
CFLAGS ?= $(CFLAGS_$(BUILD))
override CFLAGS += -std=c11 -D_GNU_SOURCE -fopenmp -Isrc $(WARN)
LIBS := -ldnnl -ljansson -lzstd -lz -lpcre2-8 -lutf8proc -lsnappy -llz4 -lbrotlidec -lcurl -lnlopt -lm -lpthread
ifeq ($(BUILD),asan)
LDFLAGS += -fsanitize=address,undefined
endif
ifeq ($(BUILD),tsan)
LDFLAGS += -fsanitize=thread
endif
ifeq ($(MPI),1)
override CFLAGS += $(shell mpicc --showme:compile)
LIBS += $(shell mpicc --showme:link)
endif

comm_other := $(if $(filter 1,$(MPI)),src/comm/comm_self.c,src/comm/comm_mpi.c)
SRC := $(filter-out src/cmd/% $(comm_other),$(wildcard src/*/*.c))
CMD := $(wildcard src/cmd/*.c)
OBJ := $(SRC:src/%.c=$O/%.o)
CMDOBJ := $(CMD:src/%.c=$O/%.o)

# The row kernels are one source built for several instruction sets (chosen at run time).
# -O3 for the loops that touch every element; never -ffast-math: isnan must work.
$O/compute/%.o: override CFLAGS += -O3
$O/compute/kernels_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c
$O/compute/kernels_avx512.o: override CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma

all: deps $O/mdm
	@echo "built $O/mdm; try: $O/mdm help"

help:
	@echo "make            install missing packages, build build/mdm"
	@echo "make demo       train a small model on WordNet's dictionary and use it (under five minutes)"
	@echo "make test       everything that takes under five minutes; make test-long: the rest"
	@echo "make bench      speed as shares of this machine's matmul rate"
	@echo "make fuzz       fuzz every parser for FUZZ_SECONDS (default 30) each"
	@echo "make lint       layering, formatting, static analysis;  make format  reformat"
	@echo "make install    PREFIX=$(PREFIX);  make clean"
	@echo "BUILD=release|debug|asan|tsan  CC=gcc|clang  MPI=0|1  V=1"

deps:
	@tools/deps.sh

$O/mdm: $(CMDOBJ) $O/libmdm.a
	@echo "  link    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$O/libmdm.a: $(OBJ)
	@echo "  archive $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$O/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@echo "  compile $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Tests: every tests/*/test_*.c is a program of its own, linked with the library and cmocka.
TESTSRC := $(wildcard tests/*/test_*.c)
TESTBIN := $(TESTSRC:tests/%.c=$O/tests/%)
$O/tests/%: tests/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  test    $<"
	$(Q)$(CC) $(CFLAGS) -Itests -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS) -lcmocka

tests: $(TESTBIN) $O/mdm
test: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)tests/run.sh $O
test-long: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)tests/run.sh $O --long

demo: deps
	$(Q)$(MAKE) --no-print-directory $O/mdm
	$(Q)recipes/demo.sh $O/mdm

BENCHBIN := $(patsubst bench/%.c,$O/bench/%,$(wildcard bench/*.c))
$O/bench/%: bench/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  bench   $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS)
bench: deps
	$(Q)$(MAKE) --no-print-directory $(BENCHBIN) $O/mdm
	$(Q)bench/run.sh $O

# libFuzzer programs, one per parser; `make test` replays their corpora with the plain build (tests/fuzz/replay.c).
FUZZ_SECONDS ?= 30
fuzz: deps
	$(Q)tests/fuzz/run.sh $(FUZZ_SECONDS)

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.inc')
lint:
	$(Q)tools/lint.sh

install: $O/mdm
	install -D -m 755 $O/mdm $(DESTDIR)$(PREFIX)/bin/mdm

clean:
	rm -rf build build-*

-include $(OBJ:.o=.d) $(CMDOBJ:.o=.d) $(TESTBIN:=.d) $(BENCHBIN:=.d)
.PHONY: all help deps tests test test-long demo bench fuzz format lint install clean
.DELETE_ON_ERROR:

# The whole build. `make help` lists the targets.
#   BUILD=release|debug|asan|tsan|fuzz   CC=gcc|clang|"ccache gcc"|aarch64-linux-gnu-gcc   MPI=1   WERROR=1   V=1 shows the commands
# CPPFLAGS, CFLAGS, LDFLAGS, LIBS, DESTDIR and PREFIX are heeded.
BUILD ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
AR := $(if $(filter default,$(origin AR)),ar,$(AR))
PREFIX ?= /usr/local
WERROR ?= 0
MPI ?= 0
V ?= 0
Q := $(if $(filter 0,$(V)),@)
# For the program by itself: as many compilers as cores, unless -j was given.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# Objects of each combination live apart; `build/mdm` is the release build by gcc, the one the README uses. The compiler
# is the last word of CC, so that "ccache gcc" is gcc, and goes by its target.
compiler := $(notdir $(lastword $(filter-out -%,$(CC))))
target := $(shell $(CC) -dumpmachine)
O := build$(if $(filter-out release,$(BUILD)),-$(BUILD))$(if $(filter-out gcc,$(compiler)),-$(compiler))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-missing-field-initializers -Wno-stringop-overread -Wno-psabi
WARN += $(if $(filter 1,$(WERROR)),-Werror)
WARN += $(if $(findstring clang,$(compiler)),-Wno-unknown-warning-option)
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
# What a sanitized build is, whatever CFLAGS are. In asan a variable that nobody sets holds a pattern, so that luck hides fewer of them.
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -ftrivial-auto-var-init=pattern
SAN_tsan := -fsanitize=thread
SAN_fuzz := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer
CFLAGS ?= $(CFLAGS_$(BUILD))
$(if $(CFLAGS_$(BUILD)),,$(error BUILD=$(BUILD): expected release, debug, asan, tsan or fuzz))
override CFLAGS += -std=c11 -fopenmp $(WARN) $(SAN_$(BUILD))
override CPPFLAGS += -D_GNU_SOURCE -Isrc
override LDFLAGS += $(SAN_$(BUILD))
override LIBS += -ldnnl -ljansson -lzstd -lz -lpcre2-8 -lutf8proc -lsnappy -llz4 -lbrotlidec -lcurl -lnlopt -lm -lpthread

SRC := $(filter-out src/cmd/%,$(wildcard src/*/*.c))
CMD := $(wildcard src/cmd/*.c)
OBJ := $(SRC:src/%.c=$O/%.o)
CMDOBJ := $(CMD:src/%.c=$O/%.o)

# MPI=1: the program that many processes may run together, $O-mpi/mdm. It differs by one object, which comes before the
# library and so takes the place of comm_self.o there.
OBJ := $(filter-out $O/comm/comm_mpi.o,$(OBJ))
PROGRAM := $O$(if $(filter 1,$(MPI)),-mpi)/mdm
MPI_CFLAGS = $(shell mpicc --showme:compile)
MPI_LIBS = $(shell mpicc --showme:link)

# The row kernels are one source built for several instruction sets (chosen at run time).
# -O3 for the loops that touch every element; never -ffast-math: isnan must work.
$O/compute/%.o: override CFLAGS += -O3
ifneq ($(filter x86_64-% amd64-%,$(target)),)
$O/compute/kernels_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c
$O/compute/kernels_avx512bf16.o: override CFLAGS += -mavx512bf16
$O/compute/kernels_avx512%.o $O/compute/kernels_avx512.o: override CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma
endif

# What fails to build for want of a package says so in its last line.
all:
	$(Q)$(MAKE) $(JOBS) --no-print-directory $(PROGRAM) || { tools/deps.sh --name $(if $(filter 1,$(MPI)),--mpi); exit 2; }
	@echo "built $(PROGRAM); try: $(PROGRAM) help"

help:
	@echo "make            build build/mdm; make deps installs the packages that are missing"
	@echo "make MPI=1      build build-mpi/mdm, which mpirun and srun may start as several processes (docs/distributed.md)"
	@echo "make demo       train a small model on WordNet's dictionary and use it (under five minutes)"
	@echo "make paper      the published claims at laptop scale, some 15 to 90 minutes; PAPER=night: longer (recipes/paper)"
	@echo "make test       everything that takes under five minutes (also: make check); make test-long: the rest"
	@echo "make test-mutants  put in known bugs, one at a time, and see that the tests find each"
	@echo "make tour       type the commands that README and docs show, and compare (five minutes)"
	@echo "make bench      speed as shares of this machine's matmul rate"
	@echo "make fuzz       fuzz the parsers (tests/fuzz) for FUZZ_SECONDS (default 30) each"
	@echo "make lint       layering, formatting, static analysis;  make format  reformat"
	@echo "make install    program, man pages, shell completion: PREFIX=$(PREFIX) DESTDIR=;  make uninstall;  make clean"
	@echo "BUILD=release|debug|asan|tsan|fuzz  CC=gcc|clang  MPI=1  WERROR=1  V=1"
	@echo "demo, test, bench and fuzz install missing packages first (as root or by sudo)"

deps:
	@tools/deps.sh
deps-mpi:
	@tools/deps.sh --mpi

$O/mdm: $(CMDOBJ) $O/libmdm.a
	@echo "  link    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$O/comm/comm_mpi.o: override CFLAGS += $(MPI_CFLAGS)
$O-mpi/mdm: $(CMDOBJ) $O/comm/comm_mpi.o $O/libmdm.a
	@mkdir -p $(@D)
	@echo "  link    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(MPI_LIBS)

$O/libmdm.a: $(OBJ)
	@echo "  archive $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$O/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@echo "  compile $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Tests: every tests/*/test_*.c is a program of its own, linked with the library and cmocka.
TESTSRC := $(filter-out tests/mpi/%,$(wildcard tests/*/test_*.c))
MPITEST := $(patsubst tests/mpi/%.c,$O-mpi/tests/mpi/%,$(wildcard tests/mpi/*.c))
TESTBIN := $(TESTSRC:tests/%.c=$O/tests/%)
BENCHBIN := $(patsubst bench/%.c,$O/bench/%,$(wildcard bench/*.c))
$O/tests/%: tests/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  test    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS) -lcmocka

# They include comm_mpi.c, to change its constants.
$O-mpi/tests/%: tests/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  test    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(MPI_CFLAGS) -Itests -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS) $(MPI_LIBS)

# The benches too: what nothing builds stops building.
tests: $(TESTBIN) $(BENCHBIN) $O/mdm
tests-mpi: $(MPITEST) $O-mpi/mdm
test check: deps-mpi
	$(Q)$(MAKE) --no-print-directory tests tests-mpi
	$(Q)tests/run.sh $O
test-long: deps-mpi
	$(Q)$(MAKE) --no-print-directory tests tests-mpi
	$(Q)tests/run.sh $O --long
tour: deps-mpi
	$(Q)tools/tour.sh
test-mutants: deps-mpi
	$(Q)tests/mutants/run.sh

demo: deps
	$(Q)$(MAKE) $(JOBS) --no-print-directory $O/mdm
	$(Q)recipes/demo.sh $O/mdm

PAPER ?= hour
PAPER_OUT ?= paper-run
paper:
	@tools/deps.sh --paper
	$(Q)$(MAKE) $(JOBS) --no-print-directory $O/mdm
	$(Q)recipes/paper/paper.py $O/mdm $(PAPER_OUT) --size $(PAPER)

$O/bench/%: bench/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  bench   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS)
bench: deps
	$(Q)$(MAKE) --no-print-directory $(BENCHBIN) $O/mdm
	$(Q)bench/run.sh $O

# libFuzzer programs (BUILD=fuzz CC=clang); `make test` replays their corpora with the plain build.
FUZZ_SECONDS ?= 30
FUZZBIN := $(patsubst tests/fuzz/%.c,$O/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$O/fuzz/%: tests/fuzz/%.c $O/libmdm.a Makefile
	@mkdir -p $(@D)
	@echo "  fuzz    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fsanitize=fuzzer -Itests -MMD -MP $(LDFLAGS) -o $@ $< $O/libmdm.a $(LIBS)
fuzzers: $(FUZZBIN)
fuzz: deps
	$(Q)tests/fuzz/run.sh $(FUZZ_SECONDS)

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.inc')
lint:
	$(Q)tools/lint.sh

# Man pages and completion are what the program says of its own option tables; they are not made when it cannot run here.
MAN := $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETION := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
install: $(PROGRAM)
	install -D -m 755 $(PROGRAM) "$(DESTDIR)$(PREFIX)/bin/mdm"
	$(Q)tools/install_docs.sh $(PROGRAM) "$(MAN)" "$(COMPLETION)"
uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/mdm" "$(COMPLETION)/mdm" "$(MAN)/mdm.1" "$(MAN)"/mdm-*.1

clean:
	rm -rf build build-*

-include $(OBJ:.o=.d) $(CMDOBJ:.o=.d) $O/comm/comm_mpi.d $(TESTBIN:=.d) $(MPITEST:=.d) $(BENCHBIN:=.d) $(FUZZBIN:=.d)
.PHONY: all help deps deps-mpi tests tests-mpi test check test-long tour test-mutants demo paper bench fuzzers fuzz format lint install uninstall clean
.DELETE_ON_ERROR:

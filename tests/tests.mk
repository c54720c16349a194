# Tests: unit (one cmocka binary per module), fuzz corpora, end to end.
UNIT_DIRS := base agent gateway controller client keeper shim sample-cli
UNIT_SRC := $(foreach d,$(UNIT_DIRS),$(wildcard tests/$(d)/test_*.c))
UNIT_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(UNIT_SRC))
E2E_SRC := $(wildcard tests/e2e/test_*.c)
E2E_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(E2E_SRC))
CLUSTER_SRC := $(wildcard tests/cluster/test_*.c)
CLUSTER_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(CLUSTER_SRC))
KEDA_SRC := $(wildcard tests/keda/test_*.c)
KEDA_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(KEDA_SRC))
GVISOR_SRC := $(wildcard tests/gvisor/test_*.c)
GVISOR_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(GVISOR_SRC))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))

TEST_LIBS = $(foreach d,tests/lib $(SERVICES) keeper sample-cli base,$(BUILD)/lib$(d).a)
# a test may say what else it needs of the linker: // link: -Wl,--wrap=read
test_flags = $(shell sed -n 's|^// link: ||p' $(1))

$(BUILD)/libtests/lib.a: $(call obj,$(filter-out %/only.c,$(wildcard tests/lib/*.c)))
	@mkdir -p $(@D); rm -f $@
	@if [ -n "$^" ]; then ar rcs $@ $^; else ar rcs $@; fi

.SECONDEXPANSION:
# A unit test links its own folder's archive, base and the test library.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/obj/tests/lib/only.o $(BUILD)/libtests/lib.a $$(wildcard $$(BUILD)/none) $$(call test_archives,$$*)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call test_flags,tests/$*.c) -lcmocka $(LDLIBS)

# (the end-to-end fixture speaks WebSocket through the gateway's pure parsers)
test_archives = $(if $(filter e2e/% bench/% agent/test_attach agent/test_attach_hello agent/test_attach_flow agent/test_attach_prompt agent/test_input_kills agent/test_viewers agent/test_life agent/test_life_kills agent/test_life_time agent/test_stall agent/test_pod agent/test_seccomp agent/test_warm agent/test_warm_kills controller/test_activate client/test_retry,$(1)),$(BUILD)/libgateway.a) $(if $(filter cluster/% gvisor/% keda/%,$(1)),$(BUILD)/libgateway.a $(BUILD)/libcontroller.a) $(if $(filter agent/% gateway/% controller/% client/% keeper/% sample-cli/%,$(1)),$(BUILD)/lib$(firstword $(subst /, ,$(1))).a) $(BUILD)/libbase.a

$(BUILD)/tests/bench/relay_bench: $(BUILD)/libgateway.a $(BUILD)/libbase.a

# The hostile program: static, libc only, so that it runs in any image.
HOSTILE := $(BUILD)/tests/hostile/hostile
$(HOSTILE): $(wildcard tests/hostile/*.[ch])
	@mkdir -p $(@D)
	$(MUSL_CC) -static -std=gnu17 -O1 $(WARN) -D_GNU_SOURCE -I. \
		-idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -dumpmachine) \
		-s -o $@ $(filter %.c,$^)
$(BUILD)/tests/e2e/test_cage $(BUILD)/tests/cluster/test_cage: $(HOSTILE)

# Replays the corpus through the fuzzer's entry point, without libFuzzer.
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/libagent.a $(BUILD)/libgateway.a $(BUILD)/libcontroller.a $(BUILD)/libclient.a $(BUILD)/libsample-cli.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

.PHONY: test unit e2e fuzz-corpora test-build
test: deps-test-web all test-build web-test-build ## unit tests, fuzz corpora, end-to-end tests, the page in a real Chromium
	@tests/run --build $(BUILD) $(UNIT_BIN) --fuzz $(FUZZ_BIN) --e2e $(E2E_BIN) --last tests/web/run
unit: all $(UNIT_BIN) ## unit tests alone
	@tests/run --build $(BUILD) $(UNIT_BIN)
e2e: all $(E2E_BIN) ## end-to-end tests alone
	@tests/run --build $(BUILD) --e2e $(E2E_BIN)
# Ten minutes of streaming, nearly idle: to be run beside something else.
.PHONY: test-long
test-long: deps-test all $(BUILD)/tests/e2e/test_egress_stream ## the tests whose full length is minutes of waiting
	@PODTERM_STREAM_S=600 tests/run --build $(BUILD) --e2e $(BUILD)/tests/e2e/test_egress_stream
fuzz-corpora: $(FUZZ_BIN) ## every fuzzer over its kept corpus
	@tests/run --build $(BUILD) --fuzz $(FUZZ_BIN)
test-build: $(UNIT_BIN) $(E2E_BIN) $(FUZZ_BIN) $(HOSTILE)
.PHONY: test-cluster
test-cluster: deps-cluster all bundle $(CLUSTER_BIN) ## against a real Kubernetes: KUBECONFIG's, or one of its own (root, Go 1.26)
	@PODTERM_BUNDLE=$(SAMPLE_BUNDLE) tests/cluster/run --build $(BUILD) $(CLUSTER_BIN)
.PHONY: cluster-parts
cluster-parts: deps-cluster deps-images ## builds ahead what test-cluster takes from elsewhere (root, Go 1.26)
	@tests/cluster/run --build $(BUILD) --ahead
.PHONY: keda-parts
keda-parts: deps-keda ## and what test-keda takes besides (root, Go 1.26)
	@tests/keda/run build
.PHONY: test-keda
test-keda: deps-keda all $(KEDA_BIN) ## the warm pool by the real KEDA operator, on a cluster of its own (root, Go 1.26)
	@tests/keda/run --build $(BUILD) $(KEDA_BIN)
.PHONY: test-gvisor
test-gvisor: deps-cluster all $(GVISOR_BIN) ## sessions under gVisor, on a cluster of its own (root, Go 1.26); not part of .ci/run
	@tests/gvisor/run --build $(BUILD) $(GVISOR_BIN)
.PHONY: test-debian13
test-debian13: ## all tests on a bare Debian 13, made for it (as root)
	@tests/debian13

.PHONY: layers asan tsan analyze fuzz
layers: ## the rules a compiler does not see
	@tests/layers

# The sanitizers' run leaves out what measures time or memory.
asan: deps-test ## unit tests and corpora under ASan and UBSan
	@$(MAKE) --no-print-directory BUILD=build-asan OPT=-O1 SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' unit-and-fuzz
# A spawn shares our memory until it execs: TSan takes that for a fork, after
# which it would let no thread start.
tsan: deps-test ## unit tests under TSan
	@TSAN_OPTIONS=die_after_fork=0 $(MAKE) --no-print-directory BUILD=build-tsan OPT=-O1 SAN='-fsanitize=thread -fno-omit-frame-pointer' unit
.PHONY: unit-and-fuzz
unit-and-fuzz: all $(UNIT_BIN) $(FUZZ_BIN)
	@tests/run --build $(BUILD) $(UNIT_BIN) --fuzz $(FUZZ_BIN)

# Every program a test starts adds to the counts as it exits. gcc would have
# each exec write them first; after a vfork that is the parent's last word.
COVER := --coverage -fprofile-update=atomic $(patsubst %,-fno-builtin-exec%,l le lp v ve vp)
.PHONY: cover covered
cover: deps-test ## what the tests run: lines and branches by folder
	@$(MAKE) --no-print-directory BUILD=build-cover OPT=-O0 SAN='$(COVER)' covered
covered: all test-build
	@tests/cover $(BUILD) prepare
	@GCOV_ERROR_FILE=/dev/null tests/run --build $(BUILD) $(UNIT_BIN) --fuzz $(FUZZ_BIN) --e2e $(E2E_BIN); \
		rc=$$?; tests/cover $(BUILD) report && exit $$rc

analyze: deps-gate ## cppcheck, gcc -fanalyzer, clang-tidy
	@tests/analyze

# Real fuzzing, FUZZ_SECONDS each: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 30
fuzz: deps-gate ## libFuzzer over every parser, for FUZZ_SECONDS each
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ_SRC)

# START is read by the shim's own reader
$(BUILD)/tests/agent/test_launch: $(BUILD)/obj/runner-image/start.o
# and its cage closed by its own
$(BUILD)/tests/bench/cage_bench: $(BUILD)/obj/runner-image/start.o $(BUILD)/obj/runner-image/cage.o $(BUILD)/libagent.a

# these run the real programs
$(BUILD)/tests/agent/test_sandbox $(BUILD)/tests/agent/test_shimlink_real $(BUILD)/tests/shim/test_shim $(BUILD)/tests/shim/test_shim_life: $(BUILD)/bin/podterm-shim
$(BUILD)/tests/agent/test_attach $(BUILD)/tests/agent/test_attach_hello $(BUILD)/tests/agent/test_attach_flow $(BUILD)/tests/agent/test_attach_prompt $(BUILD)/tests/agent/test_input_kills $(BUILD)/tests/agent/test_viewers $(BUILD)/tests/agent/test_life $(BUILD)/tests/agent/test_life_kills $(BUILD)/tests/agent/test_life_time $(BUILD)/tests/agent/test_stall $(BUILD)/tests/agent/test_seccomp $(BUILD)/tests/agent/test_warm $(BUILD)/tests/agent/test_warm_kills $(BUILD)/tests/controller/test_activate: $(BUILD)/bin/podterm-agent $(BUILD)/bin/podterm-shim
$(BUILD)/tests/client/test_retry $(BUILD)/tests/client/test_commands: $(BUILD)/bin/podterm
$(BUILD)/tests/agent/test_old_kernel: $(addprefix $(BUILD)/tests/agent/,test_unpack test_manifest test_fetch test_bundle test_lockdown test_lockdown_limits test_lockdown_network test_proxy)
$(BUILD)/tests/agent/test_review $(BUILD)/tests/agent/test_broker_main: $(BUILD)/bin/podterm-agent
$(BUILD)/tests/keeper/test_keeper $(BUILD)/tests/keeper/test_keeper_end: $(BUILD)/bin/podterm-shim $(BUILD)/bin/podterm-keeper

# Figures beside peers in one run; ratios are what counts.
BENCH_SRC := $(wildcard tests/bench/*_bench.c)
BENCH_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(BENCH_SRC))
.PHONY: bench
bench: deps-test all bundle $(BENCH_BIN) ## figures beside socat, haproxy, nginx, ttyd; the page's too where node and Chromium are
	@for b in $(BENCH_BIN); do PODTERM_BUNDLE=$(DIST)/sample-cli-$(VERSION).tar.gz $$b || exit 1; done
	@for p in node npm "$${PODTERM_CHROMIUM:-chromium}"; do \
		command -v "$$p" >/dev/null || { echo "# no $$p: no figures of the page (make bench-web installs it)"; exit 0; }; done; \
		$(MAKE) --no-print-directory bench-web
# COLD, WARM, BURST: how many starts of each kind
COLD ?= 15
WARM ?= 30
BURST ?= 20
.PHONY: bench-cluster
bench-cluster: deps-cluster all $(BUILD)/tests/cluster/cluster_bench ## starts on a real Kubernetes, cold and warm, by stage: KUBECONFIG's, or one of its own (root, Go 1.26)
	@tests/cluster/run --build $(BUILD) --bench $(BUILD)/tests/cluster/cluster_bench $(COLD) $(WARM) $(BURST)

# podterm: build, run and test. `make help` lists the targets.
SHELL := /bin/bash
BUILD ?= build
VERSION ?= 0.1.0
CC := gcc
MUSL_CC ?= musl-gcc

# Everything that is not on a bare Debian 12 or 13. `make deps` installs what is
# missing; TEST_PACKAGES are needed by `make test` and the gates alone.
RUN_PACKAGES := gcc libc6-dev musl-tools linux-libc-dev bubblewrap \
	libwebsockets-dev libwebsockets-evlib-uv libuv1-dev \
	libcurl4-openssl-dev libcjson-dev libyaml-dev libsodium-dev libssl-dev \
	libarchive-dev libsqlite3-dev libhiredis-dev libseccomp-dev ca-certificates
TEST_PACKAGES := libcmocka-dev libjwt-dev python3 minisign socat haproxy nginx-light \
	redis-server curl jq procps zip zstd xz-utils tmux zsh fish mandoc groff-base \
	vim-tiny less htop openssl git python3-pip
CLUSTER_PACKAGES := containerd runc containernetworking-plugins iptables \
	iproute2 openssl
IMAGE_PACKAGES := buildah mmdebstrap
GATE_PACKAGES := cppcheck clang clang-tidy clang-format libclang-rt-dev

WARN := -Wall -Wextra -Wconversion -Wshadow -Werror
# Hidden: our json_object must not stand in for jansson's in a library that
# uses jansson (libjwt did so: seen).
HARDEN := -fvisibility=hidden -fstack-protector-strong \
	-fstack-clash-protection -fcf-protection=full \
	-ftrivial-auto-var-init=zero -fPIE
OPT ?= -O2 -D_FORTIFY_SOURCE=3
SAN ?=
CPPFLAGS += -I. -D_GNU_SOURCE -DPODTERM_VERSION='"$(VERSION)"'
CFLAGS += -std=gnu17 -g $(OPT) $(WARN) $(HARDEN) $(SAN)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SAN)
LDLIBS := -lwebsockets -luv -lcurl -lcjson -lyaml -lsodium -lssl -lcrypto \
	-larchive -lsqlite3 -lhiredis -lseccomp -lpthread -lm

SERVICES := agent gateway controller client
src = $(wildcard $(1)/*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

BIN := $(BUILD)/bin/podterm $(BUILD)/bin/podterm-agent \
	$(BUILD)/bin/podterm-gateway $(BUILD)/bin/podterm-controller \
	$(BUILD)/bin/podterm-keeper $(BUILD)/bin/podterm-shim \
	$(BUILD)/bin/sample-cli

.PHONY: all
all: $(foreach b,$(BIN),$(b)) ## build every program

# Kept, though only a chain of patterns names some (each main.o).
.PRECIOUS: $(BUILD)/obj/%.o
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# One archive per folder, main.o left out: programs and tests link alike.
define archive
$(BUILD)/lib$(1).a: $(call obj,$(filter-out %/main.c,$(call src,$(1))))
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach d,base $(SERVICES) keeper sample-cli,$(eval $(call archive,$(d))))

link = $(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

$(BUILD)/bin/podterm: $(BUILD)/obj/client/main.o $(BUILD)/libclient.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(link)
$(BUILD)/bin/podterm-keeper: $(BUILD)/obj/keeper/main.o $(BUILD)/libkeeper.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(link)
$(BUILD)/bin/podterm-%: $(BUILD)/obj/%/main.o $(BUILD)/lib%.a $(BUILD)/libbase.a
	@mkdir -p $(@D)
	$(link)

# The shim: libc only, static, so that it runs in any image. musl-gcc lacks
# the kernel's headers; theirs come last.
$(BUILD)/bin/podterm-shim: $(call src,runner-image) $(wildcard runner-image/*.h) base/vocab.h
	@mkdir -p $(@D)
	$(MUSL_CC) -static -std=gnu17 -Os $(WARN) -D_GNU_SOURCE -I. \
		-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu \
		-ffunction-sections -fdata-sections -fstack-protector-strong \
		-Wl,--gc-sections -Wl,-z,noexecstack -s -o $@ $(filter %.c,$^)

.PHONY: man
man: $(BUILD)/bin/podterm ## manual pages, out of the table of commands
	@mkdir -p $(BUILD)/man
	@$< __manual >$(BUILD)/man/podterm.1
	@for c in $$($< --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do \
		$< __manual $$c >$(BUILD)/man/podterm-$$c.1 || exit 1; done
	@ls $(BUILD)/man/*.1

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
-include tests/tests.mk
-include sample-cli/bundle.mk
-include run.mk
-include web.mk
-include images.mk

.PHONY: deps deps-test deps-gate deps-cluster deps-keda deps-images
deps: ## install what building and running need
	@tests/install-missing $(RUN_PACKAGES)
deps-test: deps
	@tests/install-missing $(TEST_PACKAGES)
# (a cluster of its own is root's alone: nobody else needs these)
deps-cluster: deps-test
	@if [ -n "$$KUBECONFIG" ]; then echo "KUBECONFIG is set: no packages for a cluster of its own"; \
	elif [ "$$(id -u)" != 0 ]; then echo "not root: no packages for a cluster of its own"; \
	else tests/install-missing $(CLUSTER_PACKAGES); fi
deps-keda: deps-test
	@if [ "$$(id -u)" != 0 ]; then echo "not root: no packages for a cluster of its own"; \
	else tests/install-missing $(CLUSTER_PACKAGES) $(IMAGE_PACKAGES); fi
deps-images:
	@tests/install-missing $(IMAGE_PACKAGES)
deps-gate: deps-test
	@tests/install-missing $(GATE_PACKAGES)

.PHONY: compile_commands.json
compile_commands.json: ## for editors and clang tools
	@{ echo "["; sep=; for f in $$(git ls-files "*.c"); do printf "%s{\"directory\":\"%s\",\"file\":\"%s\",\"command\":\"gcc -std=gnu17 -D_GNU_SOURCE -I. -c %s\"}" "$$sep" "$$PWD" "$$f" "$$f"; sep=,; done; echo "]"; } > $@

.PHONY: clean
clean: ## remove what was built
	rm -rf build build-* dist

.PHONY: fmt
fmt: ## format the C sources
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9_.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')"
.DEFAULT_GOAL := all

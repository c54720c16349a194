# sample-cli and its bundle.
DIST ?= $(if $(filter build,$(BUILD)),dist,$(BUILD)/dist)
SAMPLE_BUNDLE := $(DIST)/sample-cli-$(VERSION).tar.gz

# RPATH, not RUNPATH: it also serves the libraries' own libraries, and comes
# before LD_LIBRARY_PATH. No build id: it would differ with the directory.
$(BUILD)/bin/sample-cli: $(BUILD)/obj/sample-cli/main.o \
		$(BUILD)/libsample-cli.a $(BUILD)/libbase.a sample-cli/bundle.mk
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -Wl,--build-id=none -Wl,--disable-new-dtags \
		-Wl,-rpath,'$$ORIGIN/../lib' -o $@ $(filter %.o %.a,$^) \
		-lcjson -lm

$(SAMPLE_BUNDLE): $(BUILD)/bin/sample-cli sample-cli/pack LICENSE README.md \
		$(wildcard sample-cli/*.[ch] base/*.[ch]) sample-cli/bundle.mk
	@sample-cli/pack $< $@
.PHONY: bundle
bundle: $(SAMPLE_BUNDLE) ## pack sample-cli into dist/, with its SHA-256
	@echo "$(SAMPLE_BUNDLE)"; cat $(SAMPLE_BUNDLE).sha256

# these run the real program, and pack it
SAMPLE_PROGRAM_TESTS := $(BUILD)/tests/sample-cli/test_program \
	$(BUILD)/tests/sample-cli/test_review \
	$(BUILD)/tests/sample-cli/test_review_stream \
	$(BUILD)/tests/sample-cli/test_review_claude \
	$(BUILD)/tests/sample-cli/test_signals \
	$(BUILD)/tests/sample-cli/test_bundle
$(SAMPLE_PROGRAM_TESTS): $(BUILD)/bin/sample-cli $(BUILD)/bin/podterm-agent

# Container images: what is in them stands in images/Dockerfile and
# runner-image/. Each is left as $(BUILD)/images/NAME.tar.
IMAGES ?= agent gateway controller runner runner-node scratch
.PHONY: images run-packages
images: deps-images $(if $(filter controller,$(IMAGES)),web) ## container images with buildah (as root): IMAGES="agent runner"
	@images/build --out $(BUILD)/images --packages "$(RUN_PACKAGES)" \
		--version $(VERSION) $(IMAGES)
run-packages:
	@echo $(RUN_PACKAGES)
.PHONY: test-images
test-images: deps-images deps-test web ## what the images are to be, and not to be (as root)
	@tests/images/run --build $(BUILD) --packages "$(RUN_PACKAGES)" \
		--version $(VERSION)

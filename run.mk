# From nothing to a session, with one command (`make serve`: web.mk).
.PHONY: run
run: deps ## build all and open a session on the sample bundle
	@BUILD=$(BUILD) DIST=$(DIST) VERSION=$(VERSION) tools/run

# From nothing to a session, each with one command.
.PHONY: run serve
run: deps ## build all and open a session on the sample bundle
	@BUILD=$(BUILD) DIST=$(DIST) VERSION=$(VERSION) tools/run
serve: deps ## the same, and stay up on LISTEN=127.0.0.1:8080
	@BUILD=$(BUILD) DIST=$(DIST) VERSION=$(VERSION) LISTEN=$(LISTEN) \
		tools/run serve

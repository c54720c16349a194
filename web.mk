# The web terminal: its page (web/), built by esbuild with exactly what
# web/package-lock.json names, and its tests in a real Chromium. `make run`
# needs none of this.
WEB_PACKAGES := nodejs npm
WEB_TEST_PACKAGES := chromium
WEB_NODE_LEAST := 18

.PHONY: deps-web deps-test-web
# (a node from elsewhere does, if it is not too old: Debian's would not go in
# beside it)
deps-web:
	@{ command -v node && command -v npm; } >/dev/null 2>&1 || \
		tests/install-missing $(WEB_PACKAGES)
	@node -e 'process.exit(parseInt(process.versions.node) < $(WEB_NODE_LEAST) ? 1 : 0)' || \
		{ echo "node is $$(node --version); the page needs $(WEB_NODE_LEAST) or later: remove it, and Debian's is taken" >&2; exit 1; }
deps-test-web: deps-test deps-web
	@command -v chromium >/dev/null || tests/install-missing $(WEB_TEST_PACKAGES)

# npm writes its own list last: newer than the lock file, it is done.
%/node_modules/.package-lock.json: %/package-lock.json | deps-web
	@echo "npm: what $< names"
	@cd $* && npm ci --silent --no-audit --no-fund
	@touch $@

# What the page is made of; index.html is what its build writes last.
WEB_SOURCES := web/build.mjs web/package.json web/tsconfig.json \
	$(wildcard web/page/*.html web/page/*.css web/page/src/*.ts) \
	$(wildcard web/module/package.json web/module/tsconfig.json web/module/src/*.ts)
web/dist/index.html: $(WEB_SOURCES) web/node_modules/.package-lock.json | deps-web
	@cd web && npm run --silent build

.PHONY: web serve test-web web-test-build
web: web/dist/index.html ## build the web terminal's page into web/dist/
serve: deps web ## all of podterm and its page, to stay up on LISTEN=127.0.0.1:8080
	@BUILD=$(BUILD) DIST=$(DIST) VERSION=$(VERSION) LISTEN=$(LISTEN) \
		tools/run serve

web-test-build: web $(foreach d,web node-cli,tests/$(d)/node_modules/.package-lock.json)
test-web: deps-test-web all web-test-build ## the page's types, module and behaviour in a real Chromium
	@PODTERM_BUILD=$(BUILD) tests/web/run

# (tests.mk calls it where these are; KEYS, ROUNDS: how many)
KEYS ?= 500
ROUNDS ?= 15
.PHONY: bench-web
bench-web: deps-test-web all web tests/web/node_modules/.package-lock.json ## the page's figures in a real Chromium, beside ttyd's where it is on PATH
	@PODTERM_BUILD=$(BUILD) node tests/web/bench.mjs $(KEYS) $(ROUNDS)

# Every task of this repository. Each installs what it lacks (deploy/scripts/ensure.sh) and can be
# run from a fresh clone on a Debian machine with Rust, git and make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

scripts := .ci/run $(wildcard deploy/*/*.sh) benches/peers/prepare.sh
bench := $${CARGO_TARGET_DIR:-target}/release/examples/bench
cargo_deny := $(shell command -v cargo-deny || echo .cache/tools/bin/cargo-deny)
cargo_llvm_cov := $(shell command -v cargo-llvm-cov || echo .cache/tools/bin/cargo-llvm-cov)
cargo_fuzz := $(shell command -v cargo-fuzz || echo .cache/tools/bin/cargo-fuzz)

.PHONY: help
help: ## Lists the tasks.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Shows it at work: a broker, an imin and a few hundred signups, all on this machine.
	@deploy/demo/run.sh

.PHONY: test
test: ## Runs every test, on real brokers that it starts and ends itself.
	@deploy/scripts/ensure.sh test
	cargo test --locked

# What a test kills or aborts tells nothing, so a line that only such a worker reached shows as missed.
.PHONY: coverage
coverage: $(cargo_llvm_cov) ## Shows which lines no test reaches, in .cache/coverage (TESTS=--lib for a part, in a minute or two).
	@deploy/scripts/ensure.sh test
	rustup component add llvm-tools
	$(cargo_llvm_cov) llvm-cov test --locked --html --output-dir .cache/coverage $(TESTS)

.PHONY: bench
bench: bench-build ## Measures it against peers and against the broker's limit: about an hour (BENCH='--rounds 1 …').
	benches/peers/prepare.sh
	$(bench) main $(BENCH)

.PHONY: bench-growth
bench-growth: bench-build ## Measures it with millions of rows and messages, several workers, and for long.
	$(bench) growth $(BENCH)

.PHONY: bench-build
bench-build:
	@deploy/scripts/ensure.sh bench
	cargo build --locked --release
	cargo build --locked --release --example bench

.PHONY: outage-run
outage-run: ## Runs 20,000 events through bad hours: imin fails in every way while the broker is killed twice.
	@deploy/scripts/ensure.sh test
	cargo test --locked --release --test it outages::long::bad_hours -- --ignored --exact --nocapture

.PHONY: chaos
chaos: ## Breaks everything at random for MINUTES (5), by a SEED that it tells, and holds the promises.
	@deploy/scripts/ensure.sh test
	CHAOS_SEED='$(SEED)' CHAOS_MINUTES='$(or $(MINUTES),5)' cargo test --locked --test it chaos:: -- --nocapture --include-ignored

# The sanitizer is an unstable flag: RUSTC_BOOTSTRAP has the stable compiler take it, so no nightly is needed.
.PHONY: fuzz
fuzz: $(cargo_fuzz) ## Looks for bytes that break a way in, for SECONDS (60) each; what is new stays in .cache/fuzz.
	@deploy/scripts/ensure.sh build
	for target in $(or $(TARGET),event headers answer retry_after settings); do \
		mkdir -p ".cache/fuzz/$$target"; \
		RUSTC_BOOTSTRAP=1 $(cargo_fuzz) fuzz run "$$target" ".cache/fuzz/$$target" "fuzz/corpus/$$target" -- -max_total_time=$(or $(SECONDS),60) -max_len=65536; \
	done

.PHONY: check-deploy
check-deploy: ## Has judges from elsewhere look at contracts, manifests, alerts and the unit.
	@deploy/scripts/check-deploy.sh

.PHONY: image
image: ## Builds the two images with buildah, as root and without Docker, and starts them (minutes the first time).
	@deploy/scripts/image.sh

.PHONY: lint
lint: $(cargo_deny) ## Checks format, lints, documentation, scripts, licences and sources.
	@deploy/scripts/ensure.sh lint
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --all-features
	shellcheck $(scripts)
	$(cargo_deny) --log-level error --locked --all-features check bans licenses sources

.PHONY: audit
audit: $(cargo_deny) ## Checks the dependencies against the advisory database, which it downloads.
	$(cargo_deny) --log-level error --locked check advisories

.PHONY: fmt
fmt: ## Formats the code.
	cargo fmt

.PHONY: build
build: ## Builds the two binaries as they are shipped, into target/release.
	@deploy/scripts/ensure.sh build
	cargo build --locked --release

.PHONY: clean
clean: ## Removes what was built and fetched for this repository.
	rm -rf target fuzz/target .cache

# Unoptimised: it takes half the time to build, and reads one lock file.
.cache/tools/bin/cargo-deny:
	@deploy/scripts/ensure.sh build
	cargo install cargo-deny@0.20.2 --locked --debug --root .cache/tools

.cache/tools/bin/cargo-fuzz:
	@deploy/scripts/ensure.sh build
	cargo install cargo-fuzz@0.13.2 --locked --debug --root .cache/tools

.cache/tools/bin/cargo-llvm-cov:
	@deploy/scripts/ensure.sh build
	cargo install cargo-llvm-cov@0.9.1 --locked --debug --root .cache/tools

# What people and CI type. Each target is one command of a tool that can also be run by itself.
# CLUSTER=name selects a cluster; CLUSTER=current means the current kubectl context (only for `up`).
CLUSTER ?= a8s
A8S_CACHE ?= $(HOME)/.cache/a8s
CARGO_TARGET_DIR ?= $(A8S_CACHE)/target
export CLUSTER A8S_CACHE CARGO_TARGET_DIR

# Before anything of another checkout is taken for this one's.
OWN := $(shell tests/own-target '$(CARGO_TARGET_DIR)')

# The tool alone, unoptimised: it starts programs and waits for them.
CARGO_CLUSTER = cargo build --quiet --locked -p a8s-cluster
TOOL = $(CARGO_TARGET_DIR)/debug/a8s-cluster
# Optimised: it shares the cores with what it measures.
BENCH = cargo run --quiet --locked --release -p a8s-e2e --bin bench --

# With the features of all packages together, as all other tests: with its own, half of what it is made of would be compiled once more.
IN_CLUSTER = A8S_CLUSTER_BIN=$(TOOL) cargo test --workspace --locked
RUN = -- --ignored --nocapture --test-threads=1

DENY_VERSION = 0.20.2
DENY = $(A8S_CACHE)/bin/cargo-deny-$(DENY_VERSION)

# At least so many; the tests say how many there were.
SCHEDULES ?= 100000
LISTS ?= 1000
TIME ?= 600

.PHONY: help up down status token images logs test test-cases run-cases test-conformance test-conversations test-harnesses test-kills test-schedules test-take-overs bench bench-up bench-workspaces bench-conversation bench-stream deny fmt lint gen

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: ## Build and start the cluster with a8s and the sample in it; ARGS=... for more options.
	@$(CARGO_CLUSTER)
	@$(TOOL) up $(ARGS)

down: ## Remove the cluster and everything of it.
	@$(CARGO_CLUSTER)
	@$(TOOL) down $(ARGS)

status: ## Say what runs.
	@$(CARGO_CLUSTER)
	@$(TOOL) status

token: ## Print a token to log in to the console with.
	@$(CARGO_CLUSTER)
	@$(TOOL) token

images: ## Build the container images and import them into a running cluster.
	@$(CARGO_CLUSTER)
	@$(TOOL) images

logs: ## Print a process' log: make logs ARGS=kubelet.
	@$(CARGO_CLUSTER)
	@$(TOOL) logs $(ARGS)

test: ## Formatting, lints, and every test, up to a real cluster with a real browser.
	tests/prepare
	cargo fmt --check
	cd console/web && npm ci --no-audit --no-fund && npm run lint && npm run typecheck && npm test && npm run build
	cd tests/e2e/browser && npm ci --no-audit --no-fund && npm test
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) --no-print-directory deny
	cargo build --workspace --all-targets --locked
	A8S_PROGRAMS_BUILT=1 A8S_CLUSTER_BIN=$(TOOL) cargo test --workspace --exclude a8s-sim --locked
	$(MAKE) --no-print-directory test-schedules
	$(IN_CLUSTER) --test first_light $(RUN)
	A8S_PROGRAMS_BUILT=1 $(MAKE) --no-print-directory run-cases

deny: $(DENY)/bin/cargo-deny ## Nothing with a licence or from a source that deny.toml does not allow.
	PATH=$(DENY)/bin:$$PATH cargo deny --locked check bans licenses sources $(ARGS)

# Unoptimised: it is built for longer than it runs. In a target directory of its own, which is thrown away.
$(DENY)/bin/cargo-deny:
	env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug cargo-deny --version $(DENY_VERSION) --root $(DENY)

test-conformance: ## The server in memory against a real API server, by random lists of requests; LISTS of them, where make test tries 60.
	A8S_LISTS=$(LISTS) cargo test --locked -p a8s-e2e --test conformance -- --nocapture

test-take-overs: ## Three people in four windows and an agent share a desktop, with random take-overs; for TIME seconds, where make test takes 20.
	A8S_TAKE_OVERS_SECONDS=$(TIME) cargo test --locked -p a8s-deskd --test take_overs -- --nocapture

test-conversations: ## Agents at work as processes: fifty of them, and kill -9 of controller, runner and agent in a turn.
	cargo test --locked -p a8s-e2e --test conversations $(RUN)

test-harnesses: ## Agent programs of others, as people install them, against a mock of their model: opencode, Claude, Codex, Gemini.
	cargo test --locked -p a8s-runner --test harnesses -- --include-ignored --nocapture --test-threads=1

test-cases: ## T4 of Workspaces, Snapshots, pools and conversations, by topic.
	$(CARGO_CLUSTER)
	$(MAKE) --no-print-directory run-cases

# One cluster serves all topics.
run-cases:
	CLUSTER=cases $(TOOL) down
	CLUSTER=cases $(TOOL) up --no-sample
	A8S_ATTACH=1 A8S_KEEP_CLUSTER=1 A8S_CLUSTER_NAME=cases $(IN_CLUSTER) --test cases $(RUN); \
	  status=$$?; CLUSTER=cases $(TOOL) down; exit $$status

test-kills: ## Kill the controller at ten points of the sample's run.
	$(CARGO_CLUSTER)
	$(IN_CLUSTER) --test first_light $(RUN) killing_the_controller

test-schedules: ## Seeded schedules against the plans, at least SCHEDULES of them.
	A8S_SCHEDULES=$(SCHEDULES) cargo test --locked --profile schedules -p a8s-sim

bench: bench-up bench-workspaces bench-conversation bench-stream ## Measure everything, and print tables.

bench-up: ## Measure `make up` with everything built.
	@$(CARGO_CLUSTER)
	A8S_CLUSTER_BIN=$(TOOL) $(BENCH) up

bench-workspaces: ## Measure Workspaces, Snapshots and pools; ARGS=--help says what can be chosen.
	@$(CARGO_CLUSTER)
	A8S_CLUSTER_BIN=$(TOOL) $(BENCH) workspaces $(ARGS)

bench-conversation: ## Measure Messages, words, Stop, taking over and what a turn costs; ARGS=--help says what can be chosen.
	@$(CARGO_CLUSTER)
	A8S_CLUSTER_BIN=$(TOOL) $(BENCH) conversation $(ARGS)

bench-stream: ## Measure the desktop stream beside websockify and plain relays; ARGS=--help says what can be chosen.
	@cargo build --quiet --locked --release -p a8s-vnc-proxy -p a8s-deskd
	@cd console/web && npm ci --no-audit --no-fund --silent
	@cd tests/e2e/browser && npm ci --no-audit --no-fund --silent
	$(BENCH) stream $(ARGS)

fmt: ## Format the sources.
	cargo fmt

lint: ## Lints only.
	cargo clippy --workspace --all-targets --locked -- -D warnings

gen: ## Write everything that is derived from the API types.
	cargo run --quiet --locked -p a8s-gen

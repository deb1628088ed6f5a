# Everything that is done with the project by hand, each as one word. `make help` lists them.
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
MODULES := $(dir $(wildcard bench/go.mod contrib/check/go.mod examples/*/go.mod internal/testservice/container/go.mod))

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## a batch through a simulated LLM API, three ways
	go run ./cmd/throttle demo

.PHONY: test
test: ## every test, as the README says
	go test ./...

.PHONY: race
race: ## every test with the race detector
	go test -race ./...

.PHONY: lint
lint: ## gofmt, vet and golangci-lint
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	$(LINT) run ./...

.PHONY: vuln
vuln: ## known vulnerabilities in what is linked (needs the network)
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

.PHONY: cross
cross: ## build and vet for every platform
	for os in linux darwin windows; do for arch in amd64 arm64; do \
		echo "$$os/$$arch"; GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go vet ./... || exit 1; done; done

.PHONY: bench
bench: ## peers and floors side by side; see docs/performance.md
	cd bench && go run .

.PHONY: differential
differential: ## 100,000 random sequences through Redis's script and Go's arithmetic
	go test ./internal/verify/redis -run Differential -rapid.checks=100000 -timeout 60m

.PHONY: torture
torture: ## break the stores in every way and keep books of it: four to ten minutes
	go run ./internal/verify/torture $(ARGS)

.PHONY: soak
soak: ## half an hour at saturation on every driver, side by side; draws docs/img/soak-*.svg
	go run ./internal/verify/soak -img docs/img

.PHONY: coverage
coverage: ## what no test reaches of the arithmetic, the limiter and the drivers, and why (needs PgBouncer)
	@profile=$$(mktemp) && go test -count=1 -timeout 30m -coverprofile=$$profile -coverpkg=.,./bucket,./driver/... \
		. ./bucket ./conformance ./driver/... $$(go list ./internal/verify/... | grep -vE 'soak|torture|fleet|observe|docs|imports|hostile|fault|mutate|coverage') && \
		go run ./internal/verify/coverage $$profile; status=$$?; rm -f $$profile; exit $$status

.PHONY: mutate
mutate: ## break the code on purpose and see whether the tests notice: half an hour
	go run ./internal/verify/mutate

.PHONY: fuzz
fuzz: ## every fuzz target for ten minutes
	@grep -rn '^func Fuzz' --include=*_test.go . | sed -E 's#^(.*)/[^/]*:[0-9]+:func (Fuzz[A-Za-z]*).*#\1 \2#' | \
		while read -r pkg target; do go test $$pkg -run '^$$' -fuzz "^$$target$$" -fuzztime 10m || exit 1; done

.PHONY: fleet
fleet: ## fleets of processes on one key, up to forty, one to five minutes each
	go test ./internal/verify/fleet -v -fleet.long -timeout 30m

.PHONY: api
api: ## what changed in the public API since the last tag (apidiff)
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null) || { echo "no tag to compare with yet"; exit 0; }; \
	dir=$$(mktemp -d) && git worktree add -q $$dir $$tag && \
	for p in . ./bucket ./driver ./driver/memory ./driver/bolt ./driver/redis ./driver/postgres ./driver/fallback \
		./conformance ./openai ./anthropic ./prometheus ./otel ./throttlehttp; do \
		(cd $$dir && go run golang.org/x/exp/cmd/apidiff@v0.0.0-20250620022241-b7579e27df2b -w $$dir/old $$p) && \
		go run golang.org/x/exp/cmd/apidiff@v0.0.0-20250620022241-b7579e27df2b $$dir/old $$p; done; \
	git worktree remove --force $$dir

.PHONY: shots
shots: ## take the pictures of the live page in docs/img (needs Chromium; a minute)
	THROTTLE_CHROMIUM=required THROTTLE_SHOTS=$(CURDIR)/docs/img go test ./internal/verify/observe ./cmd/throttle/internal/top -run "Screenshots|Picture" -count=1

.PHONY: nested
nested: ## build and vet the modules that live inside this one
	for m in $(MODULES); do (cd $$m && go vet ./... && go build ./...) || exit 1; done

.PHONY: alerts
alerts: ## run the dashboard's queries and the alert rules in Prometheus's engine
	cd contrib/check && go test ./...

.PHONY: ci
ci: ## what continuous integration runs
	.ci/run

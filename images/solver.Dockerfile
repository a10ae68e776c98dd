# Serving: the solver, a KServe model server with OpenAI-compatible chat completions on port 8080.
#
#   make images            or: docker build -f images/solver.Dockerfile -t mathloop/solver:0.1.0 .
#   make images VARIANT=cpu    docker build … --build-arg VARIANT=cpu -t mathloop/solver:0.1.0-cpu .
#
# The GPU variant calls policy and reward model over the network and contains no torch. The CPU variant also contains
# transformers and torch's CPU wheel, and runs a small champion in its own process.
#
# DIGEST pins the base image's index for all platforms; BASE's tag is informational. Change both together.
ARG BASE=docker.io/library/python:3.11.16-slim-bookworm
ARG DIGEST=sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ARG VARIANT=gpu

FROM ${BASE}@${DIGEST} AS builder
ARG PIP_INDEX_URL=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY images/pins/build.txt /pins/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes --requirement /pins/build.txt \
    && python3 -m venv --without-pip /opt/mathloop
ARG VARIANT=gpu
COPY images/pins/solver-${VARIANT}.txt /pins/
# Only the CPU variant takes torch from TORCH_INDEX; pip would ask it for every package.
RUN if [ "${VARIANT}" = cpu ]; then set -- --extra-index-url "${TORCH_INDEX}"; fi \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --require-hashes \
        --requirement "/pins/solver-${VARIANT}.txt" "$@" --wheel-dir /wheels \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
    && rm -r /wheels

FROM builder AS package
COPY pyproject.toml README.md LICENSE /source/
COPY mathloop /source/mathloop
COPY components /source/components
COPY pipelines /source/pipelines
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /source \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
        --prefix /package

FROM ${BASE}@${DIGEST}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mathloop solver" \
      org.opencontainers.image.description="Answers mathematics problems: OpenAI-compatible, greedy, maj@n, rm@n" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /opt/mathloop /opt/mathloop
COPY --from=package /package /opt/mathloop
# The root file system may be read-only and the user id arbitrary: everything is written below /tmp.
ENV PATH=/opt/mathloop/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp USER=mathloop XDG_CACHE_HOME=/tmp/.cache \
    HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
# For docker and podman; Kubernetes has its own probes and ignores this.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/v2/health/ready')"]
# An InferenceService's args are appended to these.
ENTRYPOINT ["mathloop", "serve", "--host=0.0.0.0", "--port=8080"]

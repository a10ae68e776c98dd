# Light work: stores, problem sets, statistics, reports, pipelines, TrainJobs, InferenceServices. No torch.
#
#   make images            or: docker build -f images/control.Dockerfile -t mathloop/control:0.1.0 .
#
# DIGEST pins the base image's index for all platforms; BASE's tag is informational. Change both together.
ARG BASE=docker.io/library/python:3.11.16-slim-bookworm
ARG DIGEST=sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE}@${DIGEST} AS builder
ARG PIP_INDEX_URL=https://pypi.org/simple
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY images/pins/build.txt /pins/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes --requirement /pins/build.txt \
    && python3 -m venv --without-pip /opt/mathloop
COPY images/pins/control.txt /pins/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --require-hashes --requirement /pins/control.txt \
        --wheel-dir /wheels \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
    && rm -r /wheels

# Decontamination's filter is compiled here: the image itself has no compiler.
FROM builder AS package
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE /source/
COPY mathloop /source/mathloop
COPY components /source/components
COPY pipelines /source/pipelines
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /source \
    && /opt/build/bin/pip --python /opt/mathloop/bin/python install --no-deps --no-index /wheels/*.whl \
        --prefix /package \
    && PYTHONPATH=/package/lib/python3.11/site-packages /opt/mathloop/bin/python -c \
        "from mathloop.decontamination import native; native.build()"

FROM ${BASE}@${DIGEST}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mathloop control" \
      org.opencontainers.image.description="Light steps of mathloop's pipelines and its command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /opt/mathloop /opt/mathloop
COPY --from=package /package /opt/mathloop
# The root file system may be read-only and the user id arbitrary: everything is written below /tmp.
ENV PATH=/opt/mathloop/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp USER=mathloop XDG_CACHE_HOME=/tmp/.cache \
    HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["mathloop"]
CMD ["--help"]

# One image for every role: `docker run IMAGE gateway`, `docker run IMAGE worker`. Releases give the base by digest, so
# that all workers of a cluster share one libc, one Python and one numpy:
#     docker build --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:... .
# deploy/README.md says how to find the digest. `make image` builds this file where no image can be pulled.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/overworld
# The dependencies first: this layer changes only with the lock.
COPY constraints.txt .
RUN awk '/^# section / { on = ($3 == "runtime" || $3 == "traces") } on' constraints.txt > /opt/overworld/requirements.txt \
    && /opt/overworld/bin/pip install --require-hashes --only-binary :all: -r /opt/overworld/requirements.txt
# The gateway's compiled lane wants a compiler, here and nowhere else: Debian keeps one version of it, so none is named.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml setup.py README.md LICENSE ./
COPY server server
# The page the gateway serves uses the browser client as it is.
COPY clients/js/src server/overworld/gateway/web/js
# The lists of what is installed stay (*.dist-info, requirements.txt): tools that write an SBOM read them.
RUN /opt/overworld/bin/pip install --no-deps --no-build-isolation . \
    && /opt/overworld/bin/python -c 'from overworld.gateway.lane_library import load; assert load(), "no lane"' \
    && /opt/overworld/bin/pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="overworld" \
    org.opencontainers.image.description="An authoritative multiplayer game server: gateway and worker in one image" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 overworld \
    && useradd --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin overworld
COPY --from=build /opt/overworld /opt/overworld
ENV PATH=/opt/overworld/bin:$PATH \
    # The root file system is read-only; modules were compiled when they were installed.
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    # The simulation uses no BLAS; its idle threads would only cost memory.
    OPENBLAS_NUM_THREADS=1
USER 10001:10001
# Asks the process's own internal port; Kubernetes uses /livez and /readyz there instead.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["overworld", "health"]
# An orderly stop: sessions are told, shards saved and handed over.
STOPSIGNAL SIGTERM
ENTRYPOINT ["overworld"]
CMD ["--help"]

# The image of every step of the pipeline, and of the commands `slipway run`, `slipway serve` and `slipway request-log run`.
# docs/image.md says what is in it and how large it is. `make image` builds it; `--build-arg ACCELERATOR=gpu` for GPUs.

# By digest, so that a build in a year starts from the same bytes. Dependabot moves it, and reads pins in FROM alone; by hand:
#   docker buildx imagetools inspect docker.io/library/python:3.11-slim-bookworm --format '{{.Manifest.Digest}}'
FROM docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS base

FROM base AS dependencies
WORKDIR /build
COPY requirements-uv.lock ./
RUN python -m venv uv && uv/bin/pip install --no-cache-dir --require-hashes -r requirements-uv.lock
ARG ACCELERATOR=cpu
COPY image/requirements.lock image/requirements-${ACCELERATOR}.lock ./
# The locks hold everything that is to be there: --no-deps, because TFT and TFMA ask for `tensorflow` by that name.
RUN python -m venv /opt/venv \
    && uv/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --require-hashes \
       -r requirements.lock -r "requirements-${ACCELERATOR}.lock"
# Headers and the packages' own tests go: a sixth of all. Bytecode that is not checked against its source's time is the
# same in every build and saves the look; without bytecode each step would compile TensorFlow again.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN rm -rf tensorflow/include pyarrow/include pyarrow/src \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && python -m compileall -q -j0 --invalidation-mode unchecked-hash . \
    && printf '#!/opt/venv/bin/python\nfrom cli.main import run\n\nrun()\n' > /opt/venv/bin/slipway \
    && chmod 755 /opt/venv/bin/slipway
# What was left out or deleted is needed by none of these. TFMA swallows a failed import, and then lacks its functions.
# Beam's boot program asks pip whether Beam is installed, and ends if it gets no answer.
RUN /opt/venv/bin/python -m pip --quiet show apache-beam && /opt/venv/bin/python -c "import ibis.backends.duckdb, keras, kfp, tensorflow_serving.apis, tensorflow_transform.beam; \
    import tensorflow_model_analysis as tfma; tfma.run_model_analysis"

# Beam's boot program, by which Dataflow and Flink start a worker: of the release that the lock has, from Go's module,
# whose checksum Go's database knows.
FROM base AS boot
WORKDIR /build
COPY image/requirements-boot.lock image/requirements.lock ./
RUN python -m venv go && go/bin/pip install --no-cache-dir --require-hashes -r requirements-boot.lock \
    && version="$(sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements.lock)" \
    && GOBIN=/build CGO_ENABLED=0 GOTOOLCHAIN=local \
       go/bin/go install -trimpath "github.com/apache/beam/sdks/v2/python/container@v${version}"

FROM base AS runtime
# The last one: a worker uses what the image holds, and makes no environment of its own.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app SLIPWAY_HOME=/state PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# An arbitrary user, as OpenShift gives, is in group 0.
RUN useradd --uid 10001 --gid 0 --no-log-init --create-home slipway \
    && install -d -o 10001 -g 0 -m 775 /state
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=boot /build/container /opt/apache/beam/boot
WORKDIR /app
COPY image/requirements.lock requirements.lock
# What is built on this image: a changed recipe is another image, and so are the layers on it.
COPY image/module.Dockerfile image/entrypoint.sh image/
COPY image/modules/ modules/
COPY image/settings/ settings/
COPY settings/*.py settings/
COPY slipway/ slipway/
COPY serving/ serving/
COPY components/ components/
COPY pipelines/ pipelines/
COPY delivery/ delivery/
COPY console/ console/
COPY cli/ cli/
# Checked against the source's hash, so that what is mounted over a folder of these is what runs.
RUN python -m compileall -q --invalidation-mode checked-hash .
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001
ARG GIT_REVISION=unknown
LABEL org.opencontainers.image.title="slipway" \
      org.opencontainers.image.description="The steps of Slipway's training pipeline, its model server and its command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_REVISION}"
# Kubeflow and Vertex bring the command of each step, which takes its place; Dataflow brings the flags of a worker.
ENTRYPOINT ["/app/image/entrypoint.sh"]
CMD ["slipway", "--help"]

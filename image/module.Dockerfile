# The image of a module that lists requirements: a layer on the image, with what modules/<module>/requirements.lock has
# beyond it. `slipway deploy` and `slipway module image` build it, from three files alone: docs/image.md.

# By digest.
ARG BASE

FROM ${BASE} AS tools
# hadolint ignore=DL3002
USER 0
WORKDIR /build
COPY requirements-uv.lock ./
RUN python -m venv uv && uv/bin/pip install --no-cache-dir --require-hashes -r requirements-uv.lock
COPY requirements.lock ./

FROM ${BASE}
USER 0
# No compiler is here, so nothing is built from source. What the image holds keeps its version: grep prints what would
# not, and the build fails. Only new files are compiled, as the image's are; a package's template may be no Python.
RUN --mount=type=bind,from=tools,source=/build,target=/build --mount=type=tmpfs,target=/tmp \
    /build/uv/bin/uv pip freeze --python /opt/venv/bin/python > /tmp/held \
    && /build/uv/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --require-hashes \
       --only-binary :all: -r /build/requirements.lock \
    && /build/uv/bin/uv pip freeze --python /opt/venv/bin/python > /tmp/now \
    && ! grep -vxFf /tmp/now /tmp/held \
    && { find /opt/venv/lib/python3.11/site-packages -name '*.py' -cnewer /tmp/held \
         -exec python -m compileall -q --invalidation-mode unchecked-hash {} + || true; }
USER 10001

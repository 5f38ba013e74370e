# The image of a module that lists requirements: a layer on the image, with what modules/<module>/requirements.lock has
# beyond it. `slipway deploy` and `slipway module image` build it, from three files alone: docs/image.md.

# By digest.
ARG BASE

FROM ${BASE} AS packages
# hadolint ignore=DL3002
USER 0
WORKDIR /build
COPY requirements-uv.lock ./
RUN python -m venv uv && uv/bin/pip install --no-cache-dir --require-hashes -r requirements-uv.lock
COPY requirements.lock ./
# No compiler is here, so nothing is built from source. What the image holds keeps its version: grep prints what would
# not, and the build fails. Only new files are compiled, as the image's are; a package's template may be no Python.
RUN uv/bin/uv pip freeze --python /opt/venv/bin/python > held \
    && uv/bin/uv pip install --no-cache --python /opt/venv/bin/python --no-deps --require-hashes --only-binary :all: \
       -r requirements.lock \
    && uv/bin/uv pip freeze --python /opt/venv/bin/python > now \
    && ! grep -vxFf now held \
    && { find /opt/venv -name '*.py' -cnewer held \
         -exec python -m compileall -q --invalidation-mode unchecked-hash {} + || true; } \
    && find /opt/venv ! -type d -cnewer held > files && tar --create --file=new.tar --absolute-names --files-from=files \
    && mkdir new && tar --extract --file=new.tar --directory=new

FROM ${BASE}
COPY --from=packages /build/new/ /

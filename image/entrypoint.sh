#!/bin/sh
# A step's command is run as it is. Dataflow, and Flink's pool of workers, give flags alone: those of Beam's boot program,
# which starts the worker (https://beam.apache.org/documentation/runtime/environments/). It writes the options of the
# pipeline to the folder that it is started in, and Python imports from there: a new one, which the image's user owns.
case "$1" in
  --*) cd "$(mktemp -d)" && exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac

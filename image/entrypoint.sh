#!/bin/sh
# A step's command is run as it is. Dataflow, and Flink's pool of workers, give flags alone: those of Beam's boot program,
# which starts the worker (https://beam.apache.org/documentation/runtime/environments/). It writes the options of the
# pipeline to the folder that it is started in, so that has to be one that the image's user may write to.
case "$1" in
  --*) cd /tmp && exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac

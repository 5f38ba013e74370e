#!/bin/sh
# A step's command is run as it is. Dataflow, and Flink's pool of workers, give flags alone: those of Beam's boot program,
# which starts the worker (https://beam.apache.org/documentation/runtime/environments/).
case "$1" in
  --*) exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac

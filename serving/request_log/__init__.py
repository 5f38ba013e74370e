"""The request log: a sample of requests and answers, as Parquet files.

`RequestLog.offer` takes a call and returns at once; two threads parse it, drop the features that may not be logged, and
write. The local server has a log built in; in the cluster `slipway request-log run` is a proxy in front of TensorFlow
Serving. docs/decisions/0009-request-log-schema.md describes the columns.
"""

from serving.request_log.call_rows import LoggedCall
from serving.request_log.log import LogOptions, RequestLog, is_sampled
from serving.request_log.parquet import schema

__all__ = ["LogOptions", "LoggedCall", "RequestLog", "is_sampled", "schema"]

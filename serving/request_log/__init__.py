"""The request log: a sample of what was asked and answered, as Parquet files.

`RequestLog.offer` takes a call and returns at once; two threads of the log parse it, drop what may not be kept, and
write. The local server has one built in; in the cluster `slipway request-log` stands in front of TensorFlow Serving.
See docs/decisions/0009-request-log-schema.md for the columns.
"""

from serving.request_log.call import LoggedCall
from serving.request_log.log import LogOptions, RequestLog
from serving.request_log.parquet import schema
from serving.request_log.sampling import is_sampled

__all__ = ["LogOptions", "LoggedCall", "RequestLog", "is_sampled", "schema"]

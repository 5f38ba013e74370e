"""Limits of requests, over REST and gRPC.

The request log's own limits are in `serving/request_log/call_rows.py` and `LogOptions`.
"""

# HTTP: of the head of one request, and of the bodies of all requests together. TensorFlow Serving limits no bodies.
MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 512 << 20
# The request log's proxy, whose container has 512 MiB; without requests it takes 170, and the log's queues up to 96.
# Over REST it holds the bodies of all requests together, and each is copied once.
MAX_PROXIED_BYTES = 64 << 20
# Over gRPC it holds no messages, only copies for the log; of a connection, what came and is not sent yet.
MAX_COPIED_BYTES = 32 << 20
MAX_CONNECTIONS = 512
MAX_STREAMS = 256  # calls at a time on a connection
MAX_UNSENT_BYTES = 16 << 10
SOCKET_BYTES = 32 << 10  # the kernel takes twice as much, each way
# Frames of a client: so many, so many more each second, and with each part of a call.
MAX_FRAMES, FRAMES_A_SECOND, FRAMES_A_PART = 1_000, 33, 10
# A connection on which no part of a call came for so long ends, and makes room for another one before that.
CALL_SILENCE_SECONDS, SILENCE_IN_A_CROWD_SECONDS = 600.0, 60.0
# gRPC limits messages to 4 MiB by default; TensorFlow Serving does not.
GRPC_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# REST requests that wait or are answered at a time; the next one is refused as busy.
MAX_PENDING = 256
# Of a gzip body: util/net_http/compression/gzip_zlib.h: kMaxUncompressedBytes.
MAX_UNCOMPRESSED_BYTES = 100 << 20
# A context is copied for each example: a request of a few megabytes could fill any memory.
MAX_CONTEXT_BYTES = 512 << 20
# numpy's; TensorFlow's is 254.
MAX_RANK = 64
# A few bytes may ask for a shape of any size, filled with one value; a model has no use for more elements than this.
MAX_FILLED = 1 << 24

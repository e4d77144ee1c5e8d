"""Both ends of the gRPC tests on grpcio, gRPC's C core. `echo.py serve` prints `ready PORT` and ends with its standard input;
`echo.py call ADDRESS TIMES [gzip]` makes the calls of README.md, all on one connection; TIMES being `-`, once for each line of its
standard input, saying `done` after each."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "test.Echo"
# One connection, and none to a proxy that the environment names.
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def note(text):
    return bytes([0x0A, len(text)]) + text.encode()


def send(message, context):
    if message[2:] == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such note")
    return message


def upload(messages, _):
    return list(messages)[-1]


def many(message, _):
    return iter([message] * 3)


def chat(messages, _):
    yield from messages


def serve():
    handlers = {
        "Send": grpc.unary_unary_rpc_method_handler(send),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        "List": grpc.unary_stream_rpc_method_handler(many),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("ready", port, flush=True)
    sys.stdin.read()
    server.stop(None)


def rounds(times):
    if times != "-":
        yield from range(int(times))
        return
    for _ in sys.stdin:
        yield
        print("done", flush=True)


def call(address, times, compression):
    with grpc.insecure_channel(address, options=OPTIONS, compression=compression) as channel:
        method = lambda kind, name: getattr(channel, kind)(f"/{SERVICE}/{name}")
        echo, gather = method("unary_unary", "Send"), method("stream_unary", "Upload")
        again, both = method("unary_stream", "List"), method("stream_stream", "Chat")
        for _ in rounds(times):
            for _ in range(5):
                assert echo(note("hello")) == note("hello")
            assert gather(iter([note("hello")] * 4)) == note("hello")
            assert list(again(note("hello"))) == [note("hello")] * 3
            assert list(both(iter([note("hello")] * 6))) == [note("hello")] * 6
            try:
                echo(note("missing"))
                raise SystemExit("there is no such note")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.NOT_FOUND, error


if sys.argv[1] == "serve":
    serve()
else:
    gzip = len(sys.argv) > 4 and sys.argv[4] == "gzip"
    call(sys.argv[2], sys.argv[3], grpc.Compression.Gzip if gzip else None)

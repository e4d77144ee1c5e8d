// Both ends of the gRPC tests on grpc-go. `echo serve` prints `ready PORT` and ends with its standard input; `echo call ADDRESS TIMES`
// makes the calls of README.md, all on one connection.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A message as it is on the wire.
type raw struct{ bytes []byte }

type codec struct{}

func (codec) Marshal(value interface{}) ([]byte, error) { return value.(*raw).bytes, nil }
func (codec) Unmarshal(data []byte, value interface{}) error {
	value.(*raw).bytes = append([]byte(nil), data...)
	return nil
}
func (codec) Name() string   { return "proto" }
func (codec) String() string { return "proto" }

func note(text string) *raw {
	return &raw{append([]byte{0x0a, byte(len(text))}, text...)}
}

func send(_ interface{}, context context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	message := new(raw)
	if err := decode(message); err != nil {
		return nil, err
	}
	if string(message.bytes[2:]) == "missing" {
		return nil, status.Error(codes.NotFound, "no such note")
	}
	return message, nil
}

func upload(_ interface{}, stream grpc.ServerStream) error {
	last := new(raw)
	for {
		message := new(raw)
		err := stream.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(last)
		}
		if err != nil {
			return err
		}
		last = message
	}
}

func list(_ interface{}, stream grpc.ServerStream) error {
	message := new(raw)
	if err := stream.RecvMsg(message); err != nil {
		return err
	}
	for i := 0; i < 3; i++ {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	return nil
}

func chat(_ interface{}, stream grpc.ServerStream) error {
	for {
		message := new(raw)
		err := stream.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

var streams = []grpc.StreamDesc{
	{StreamName: "Upload", Handler: upload, ClientStreams: true},
	{StreamName: "List", Handler: list, ServerStreams: true},
	{StreamName: "Chat", Handler: chat, ClientStreams: true, ServerStreams: true},
}

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.CustomCodec(codec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Send", Handler: send}},
		Streams:     streams,
	}, struct{}{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	return server.Serve(listener)
}

func call(connection *grpc.ClientConn) error {
	for i := 0; i < 5; i++ {
		if err := connection.Invoke(context.Background(), "/test.Echo/Send", note("hello"), new(raw)); err != nil {
			return err
		}
	}
	for at, description := range streams {
		notes := []int{4, 1, 6}[at]
		stream, err := connection.NewStream(context.Background(), &description, "/test.Echo/"+description.StreamName)
		if err != nil {
			return err
		}
		for i := 0; i < notes; i++ {
			if err := stream.SendMsg(note("hello")); err != nil {
				return err
			}
			if description.StreamName == "Chat" {
				if err := stream.RecvMsg(new(raw)); err != nil {
					return err
				}
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		for {
			err := stream.RecvMsg(new(raw))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	err := connection.Invoke(context.Background(), "/test.Echo/Send", note("missing"), new(raw))
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("missing: %v", err)
	}
	return nil
}

func main() {
	var err error
	if os.Args[1] == "serve" {
		err = serve()
	} else {
		var connection *grpc.ClientConn
		connection, err = grpc.Dial(os.Args[2], grpc.WithInsecure(), grpc.WithCodec(codec{}))
		times, _ := strconv.Atoi(os.Args[3])
		for i := 0; err == nil && i < times; i++ {
			err = call(connection)
		}
		if err == nil {
			err = connection.Close()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

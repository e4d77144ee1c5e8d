// Both ends of the HTTP/2 tests on Go's net/http with golang.org/x/net's h2c. `peers serve` prints `ready PORT` and ends with its
// standard input; `peers call 'METHOD URL BODY_BYTES;…'` makes the requests one after the other on one connection and prints
// `STATUS BODY_BYTES` for each; `peers call -` does so for each line of its standard input, and says `done` after each.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func answer(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if sequence := r.Header.Get("x-seq"); sequence != "" {
		w.Header().Set("x-seq", sequence)
	}
	status := strings.TrimPrefix(r.URL.Path, "/status/")
	isStatus := status != r.URL.Path
	code, _ := strconv.Atoi(status)
	switch {
	case r.URL.Path == "/echo":
		_, _ = w.Write(content)
	case isStatus && code >= 200 && code <= 599:
		w.WriteHeader(code)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error": 404}`)
	}
}

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, h2c.NewHandler(http.HandlerFunc(answer), &http2.Server{}))
}

func client() *http.Client {
	transport := &http2.Transport{
		AllowHTTP: true,
		DialTLS: func(network, address string, _ *tls.Config) (net.Conn, error) {
			return net.Dial(network, address)
		},
	}
	return &http.Client{Transport: transport}
}

func call(client *http.Client, list string) error {
	for _, line := range strings.Split(list, ";") {
		words := strings.Split(line, " ")
		size, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		var body io.Reader
		if size > 0 {
			body = strings.NewReader(strings.Repeat("x", size))
		}
		request, err := http.NewRequest(words[0], words[1], body)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		length, err := io.Copy(io.Discard, answer.Body)
		if err != nil {
			return err
		}
		answer.Body.Close()
		fmt.Println(answer.StatusCode, length)
	}
	return nil
}

func calls(list string) error {
	client := client()
	defer client.CloseIdleConnections()
	if list != "-" {
		return call(client, list)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := call(client, lines.Text()); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return lines.Err()
}

func main() {
	var err error
	if os.Args[1] == "serve" {
		err = serve()
	} else {
		err = calls(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Test server on Go's standard library. Routes and behaviour: README.md beside this file.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	largeBytesMax = 64 << 20
	slowMsMax     = 10_000
)

var block = bytes.Repeat([]byte("x"), 65_536)

func answer(w http.ResponseWriter, status int, kind string, content []byte) {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("content-type", kind)
	w.Header().Set("content-length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content)
}

func answerJSON(w http.ResponseWriter, status int, key string) {
	answer(w, status, "application/json", []byte(fmt.Sprintf(`{"%s": %d}`, key, status)))
}

func chunked(w http.ResponseWriter) {
	w.Header().Set("content-type", "text/plain")
	for number := 0; number < 3; number++ {
		fmt.Fprintf(w, "chunk %d\n", number)
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
	}
}

func large(w http.ResponseWriter, count int64) {
	w.Header().Set("content-type", "application/octet-stream")
	w.Header().Set("content-length", strconv.FormatInt(count, 10))
	for count > 0 {
		part := block
		if count < int64(len(part)) {
			part = part[:count]
		}
		if _, err := w.Write(part); err != nil {
			return
		}
		count -= int64(len(part))
	}
}

// number is -1 for what is not a plain decimal number.
func number(text string) int64 {
	value, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return -1
	}
	return int64(value)
}

func route(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	argument := int64(-1)
	if len(parts) == 2 {
		argument = number(parts[1])
	}
	switch {
	case len(parts) == 1 && parts[0] == "echo":
		kind := r.Header.Get("content-type")
		if kind == "" {
			kind = "text/plain"
		}
		w.Header().Set("x-method", r.Method)
		answer(w, http.StatusOK, kind, content)
	case len(parts) == 1 && parts[0] == "chunked":
		chunked(w)
	case len(parts) == 2 && parts[0] == "status" && argument >= 200 && argument <= 599:
		answerJSON(w, int(argument), "status")
	case len(parts) == 2 && parts[0] == "large" && argument >= 0 && argument <= largeBytesMax:
		large(w, argument)
	case len(parts) == 1 && parts[0] == "slow":
		time.Sleep(100 * time.Millisecond)
		answer(w, http.StatusOK, "text/plain", []byte("slow\n"))
	case len(parts) == 2 && parts[0] == "slow" && argument >= 0 && argument <= slowMsMax:
		time.Sleep(time.Duration(argument) * time.Millisecond)
		answer(w, http.StatusOK, "text/plain", []byte("slow\n"))
	case len(parts) == 2 && (parts[0] == "status" || parts[0] == "large" || parts[0] == "slow"):
		answerJSON(w, http.StatusBadRequest, "error")
	default:
		answerJSON(w, http.StatusNotFound, "error")
	}
}

func main() {
	port, address := "0", "127.0.0.1"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	if len(os.Args) > 2 {
		address = os.Args[2]
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	go func() {
		<-ends
		os.Exit(0)
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	fmt.Fprintln(os.Stderr, http.Serve(listener, http.HandlerFunc(route)))
	os.Exit(1)
}

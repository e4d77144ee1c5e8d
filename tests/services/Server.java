// Test server on the JDK's own HTTP server, run from source: `java Server.java`. Routes and behaviour: README.md beside this file.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.Executors;

public final class Server {
    private static final long LARGE_BYTES_MAX = 64L << 20;
    private static final long SLOW_MS_MAX = 10_000;
    private static final byte[] BLOCK = new byte[65_536];

    public static void main(String[] arguments) throws IOException {
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 0;
        String address = arguments.length > 1 ? arguments[1] : "127.0.0.1";
        Arrays.fill(BLOCK, (byte) 'x');
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName(address), port), 1024);
        server.createContext("/", Server::handle);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        System.out.println("ready " + server.getAddress().getPort());
        System.out.flush();
        // The end by SIGTERM is not a failure here.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));
        while (System.in.read() >= 0) {
            // Anything read is of no interest; its end is.
        }
        System.exit(0);
    }

    private static void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] content = exchange.getRequestBody().readAllBytes();
            String[] parts = exchange.getRequestURI().getRawPath().replaceAll("^/+|/+$", "").split("/");
            String name = parts[0];
            if (parts.length == 1 && name.equals("echo")) {
                String kind = exchange.getRequestHeaders().getFirst("content-type");
                exchange.getResponseHeaders().set("x-method", exchange.getRequestMethod());
                answer(exchange, 200, content, kind == null ? "text/plain" : kind);
            } else if (parts.length == 1 && name.equals("chunked")) {
                chunked(exchange);
            } else if (parts.length == 2 && name.equals("status")) {
                long status = number(parts[1]);
                if (status >= 200 && status <= 599) {
                    json(exchange, (int) status, "status");
                } else {
                    json(exchange, 400, "error");
                }
            } else if (parts.length == 2 && name.equals("large")) {
                long count = number(parts[1]);
                if (count >= 0 && count <= LARGE_BYTES_MAX) {
                    large(exchange, count);
                } else {
                    json(exchange, 400, "error");
                }
            } else if (parts.length <= 2 && name.equals("slow")) {
                slow(exchange, parts.length == 1 ? 100 : number(parts[1]));
            } else {
                json(exchange, 404, "error");
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static void answer(HttpExchange exchange, int status, byte[] content, String kind) throws IOException {
        boolean bodiless = status == 204 || status == 304;
        if (!bodiless) {
            exchange.getResponseHeaders().set("content-type", kind);
        }
        if (exchange.getRequestMethod().equals("HEAD")) {
            exchange.getResponseHeaders().set("content-length", Integer.toString(content.length));
            exchange.sendResponseHeaders(status, -1);
        } else if (bodiless || content.length == 0) {
            // A length of 0 would mean chunked here.
            exchange.sendResponseHeaders(status, -1);
        } else {
            exchange.sendResponseHeaders(status, content.length);
            exchange.getResponseBody().write(content);
        }
    }

    private static void json(HttpExchange exchange, int status, String key) throws IOException {
        byte[] content = ("{\"" + key + "\": " + status + "}").getBytes(StandardCharsets.US_ASCII);
        answer(exchange, status, content, "application/json");
    }

    private static void chunked(HttpExchange exchange) throws IOException {
        exchange.getResponseHeaders().set("content-type", "text/plain");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(200, head ? -1 : 0);
        for (int number = 0; number < 3 && !head; number++) {
            exchange.getResponseBody().write(("chunk " + number + "\n").getBytes(StandardCharsets.US_ASCII));
            exchange.getResponseBody().flush();
        }
    }

    private static void large(HttpExchange exchange, long count) throws IOException {
        exchange.getResponseHeaders().set("content-type", "application/octet-stream");
        if (exchange.getRequestMethod().equals("HEAD")) {
            exchange.getResponseHeaders().set("content-length", Long.toString(count));
            exchange.sendResponseHeaders(200, -1);
            return;
        }
        exchange.sendResponseHeaders(200, count == 0 ? -1 : count);
        OutputStream body = exchange.getResponseBody();
        for (long left = count; left > 0; left -= BLOCK.length) {
            body.write(BLOCK, 0, (int) Math.min(left, BLOCK.length));
        }
    }

    private static void slow(HttpExchange exchange, long delayMs) throws IOException, InterruptedException {
        if (delayMs < 0 || delayMs > SLOW_MS_MAX) {
            json(exchange, 400, "error");
            return;
        }
        Thread.sleep(delayMs);
        answer(exchange, 200, "slow\n".getBytes(StandardCharsets.US_ASCII), "text/plain");
    }

    private static long number(String text) {
        return text.matches("[0-9]{1,18}") ? Long.parseLong(text) : -1;
    }
}

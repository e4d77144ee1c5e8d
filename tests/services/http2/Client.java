// Client of the HTTP/2 tests on the JDK's java.net.http, which asks for HTTP/2 by an upgrade of its first request. Its argument is
// `METHOD URL BODY_BYTES;…`; requests go one after the other, and `STATUS BODY_BYTES` is printed for each.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        for (String line : arguments[0].split(";")) {
            String[] words = line.split(" ");
            int size = Integer.parseInt(words[2]);
            HttpRequest.BodyPublisher body = size == 0
                    ? HttpRequest.BodyPublishers.noBody()
                    : HttpRequest.BodyPublishers.ofByteArray(new byte[size]);
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[1])).method(words[0], body).build();
            HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
            System.out.println(answer.statusCode() + " " + answer.body().length);
        }
    }
}

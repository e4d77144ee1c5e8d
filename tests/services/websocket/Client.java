// Client of the WebSocket tests on the JDK's java.net.http: makes the session of README.md with the server named by its argument.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

public class Client implements WebSocket.Listener {
    private final Semaphore answers = new Semaphore(0);
    private final Semaphore closed = new Semaphore(0);

    @Override
    public CompletionStage<?> onText(WebSocket session, CharSequence data, boolean last) {
        if (last) answers.release();
        session.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket session, ByteBuffer data, boolean last) {
        if (last) answers.release();
        session.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket session, int code, String reason) {
        closed.release();
        return null;
    }

    private void await(Semaphore semaphore) throws InterruptedException {
        if (!semaphore.tryAcquire(30, TimeUnit.SECONDS)) throw new IllegalStateException("no answer");
    }

    public static void main(String[] arguments) throws Exception {
        Client listener = new Client();
        WebSocket session = HttpClient.newHttpClient().newWebSocketBuilder()
                .buildAsync(URI.create(arguments[0]), listener).join();
        session.sendPing(ByteBuffer.wrap(new byte[] {'x'})).join();
        for (String text : new String[] {"one", "two", "three"}) {
            session.sendText(text, true).join();
            listener.await(listener.answers);
        }
        for (int size : new int[] {1000, 200_000}) {
            session.sendBinary(ByteBuffer.allocate(size), true).join();
            listener.await(listener.answers);
        }
        session.sendClose(1000, "").join();
        listener.await(listener.closed);
    }
}

// Both ends of the WebSocket tests on the package ws. `peers.mjs serve` prints `ready PORT` and ends with its standard input;
// `peers.mjs call URL` makes the session of README.md. Both compress messages where the other end agrees.

import { createRequire } from 'node:module';

// Debian's packages are not where modules are looked for; only `require` minds NODE_PATH.
const { WebSocket, WebSocketServer } = createRequire(import.meta.url)('ws');
const perMessageDeflate = { threshold: 0 };

function serve() {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate }, () => {
    process.stdout.write(`ready ${server.address().port}\n`);
  });
  server.on('connection', (session) => {
    session.on('message', (data, isBinary) => session.send(data, { binary: isBinary }));
  });
  process.stdin.on('end', () => process.exit(0)).resume();
}

function call(url) {
  const messages = [
    'one', 'two', 'three', Buffer.alloc(1000, 1), Buffer.alloc(200_000, 2),
  ];
  const session = new WebSocket(url, { perMessageDeflate });
  let next = 0;
  const send = () => {
    if (next < messages.length) session.send(messages[next++]);
    else session.close(1000);
  };
  session.on('open', () => { session.ping('x'); send(); });
  session.on('message', send);
  session.on('error', (error) => { console.error(error); process.exit(1); });
  session.on('close', (code) => process.exit(code === 1000 ? 0 : 1));
}

const [verb, url] = process.argv.slice(2);
if (verb === 'serve') serve();
else call(url);

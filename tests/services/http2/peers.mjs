// Both ends of the HTTP/2 tests on Node's standard library. `peers.mjs serve` prints `ready PORT` and ends with its standard input;
// `peers.mjs call 'METHOD URL BODY_BYTES;…'` makes all requests at once on one connection and prints `STATUS BODY_BYTES` for each, in
// the order given.

import http2 from 'node:http2';

function serve() {
  const server = http2.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const status = /^\/status\/([2-5][0-9][0-9])$/.exec(request.url);
      const echo = request.url === '/echo';
      const headers = request.headers['x-seq'] ? { 'x-seq': request.headers['x-seq'] } : {};
      response.writeHead(status ? Number(status[1]) : echo ? 200 : 404, headers);
      response.end(echo ? Buffer.concat(parts) : status ? undefined : '{"error": 404}');
    });
  });
  server.listen(0, '127.0.0.1', () => process.stdout.write(`ready ${server.address().port}\n`));
  process.stdin.on('end', () => process.exit(0)).resume();
}

function ask(session, method, path, size) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': method, ':path': path }, { endStream: size === 0 });
    let [status, length] = [0, 0];
    stream.on('response', (headers) => { status = headers[':status']; });
    stream.on('data', (part) => { length += part.length; });
    stream.on('error', reject);
    stream.on('end', () => resolve(`${status} ${length}`));
    if (size > 0) stream.end(Buffer.alloc(size, 'x'));
  });
}

async function call(list) {
  const asks = list.split(';').map((line) => line.split(' '));
  const session = http2.connect(new URL(asks[0][1]).origin);
  const answers = await Promise.all(
    asks.map(([method, url, size]) => ask(session, method, new URL(url).pathname, Number(size))),
  );
  answers.forEach((line) => console.log(line));
  session.close();
}

const [verb, list] = process.argv.slice(2);
if (verb === 'serve') serve();
else await call(list);

// Test server on Node's standard library. Routes and behaviour: README.md beside this file.

import http from 'node:http';

const LARGE_BYTES_MAX = 64 * 1024 * 1024;
const SLOW_MS_MAX = 10_000;
const BLOCK = Buffer.alloc(65_536, 'x');

const [port = '0', address = '127.0.0.1'] = process.argv.slice(2);

function answer(request, response, status, content = '', headers = {}) {
  const bodiless = status === 204 || status === 304;
  const bytes = Buffer.from(content);
  response.writeHead(status, bodiless ? headers : { 'content-length': bytes.length, ...headers });
  response.end(bodiless || request.method === 'HEAD' ? undefined : bytes);
}

function json(request, response, status, value) {
  answer(request, response, status, JSON.stringify(value), { 'content-type': 'application/json' });
}

function chunked(request, response) {
  response.writeHead(200, { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' });
  if (request.method !== 'HEAD') for (const number of [0, 1, 2]) response.write(`chunk ${number}\n`);
  response.end();
}

function large(request, response, count) {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': count });
  let left = request.method === 'HEAD' ? 0 : count;
  const more = () => {
    while (left > 0) {
      const block = BLOCK.subarray(0, Math.min(left, BLOCK.length));
      left -= block.length;
      if (!response.write(block)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

async function route(request, response) {
  const content = await bodyOf(request);
  const parts = request.url.split('?')[0].replace(/^\/+|\/+$/g, '').split('/');
  const [name, argument] = parts;
  const number = parts.length === 2 && /^[0-9]+$/.test(argument) ? Number(argument) : -1;
  if (name === 'echo' && parts.length === 1) {
    const kind = request.headers['content-type'] ?? 'text/plain';
    answer(request, response, 200, content, { 'content-type': kind, 'x-method': request.method });
  } else if (name === 'chunked' && parts.length === 1) {
    chunked(request, response);
  } else if (name === 'status' && parts.length === 2) {
    if (number >= 200 && number <= 599) json(request, response, number, { status: number });
    else json(request, response, 400, { error: 400 });
  } else if (name === 'large' && parts.length === 2) {
    if (number >= 0 && number <= LARGE_BYTES_MAX) large(request, response, number);
    else json(request, response, 400, { error: 400 });
  } else if (name === 'slow' && parts.length <= 2) {
    const delayMs = parts.length === 1 ? 100 : number;
    if (delayMs < 0 || delayMs > SLOW_MS_MAX) return json(request, response, 400, { error: 400 });
    setTimeout(() => answer(request, response, 200, 'slow\n', { 'content-type': 'text/plain' }), delayMs);
  } else {
    json(request, response, 404, { error: 404 });
  }
}

const server = http.createServer((request, response) => {
  route(request, response).catch(() => response.destroy());
});
server.keepAliveTimeout = 60_000;
server.listen({ port: Number(port), host: address, backlog: 1024 }, () => {
  process.stdout.write(`ready ${server.address().port}\n`);
});
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();

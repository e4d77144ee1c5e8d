// Demo service on Node's standard library: payments of a small shop. Asks the orders service who pays.
//
// Usage: payments.mjs PORT ORDERS_PORT. Prints `ready PORT`; ends at the end of its standard input, or on SIGTERM.

import { randomUUID } from 'node:crypto';
import http from 'node:http';

const PAYMENTS_MAX = 5_000;
// Every so many payments one is declined, as banks do.
const DECLINED_EVERY = 11;

const [port, ordersPort] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const payments = new Map();
let count = 0;

function answer(response, status, value) {
  const content = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) });
  response.end(content);
}

async function bodyOf(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

// The tier decides about fees: a call back to the service that called.
function tierOf(user) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: ordersPort, path: `/users/${user}`, agent, timeout: 10_000 };
    const request = http.get(options, async (response) => {
      try {
        resolve(JSON.parse(await bodyOf(response)).tier ?? 'unknown');
      } catch (error) {
        reject(error);
      }
    });
    request.on('timeout', () => request.destroy(new Error('the orders service does not answer')));
    request.on('error', reject);
  });
}

async function create(request, response) {
  const wanted = JSON.parse(await bodyOf(request));
  count += 1;
  if (count % DECLINED_EVERY === 0) return answer(response, 402, { error: 'declined' });
  const tier = await tierOf((Number(wanted.order) % 500) + 1);
  const payment = { id: randomUUID(), order: wanted.order, amount: wanted.amount, tier, state: 'captured' };
  payments.set(payment.id, payment);
  if (payments.size > PAYMENTS_MAX) payments.delete(payments.keys().next().value);
  answer(response, 201, payment);
}

function exportAll(response) {
  // No content length: Node sends it in chunks.
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  for (const payment of [...payments.values()].slice(-50)) response.write(`${JSON.stringify(payment)}\n`);
  response.end();
}

async function route(request, response) {
  const { pathname } = new URL(request.url, 'http://payments');
  const one = pathname.match(/^\/v1\/payments\/([0-9a-f-]{36})(\/refunds)?$/);
  if (request.method === 'GET' && pathname === '/health') return answer(response, 200, { status: 'ok' });
  if (request.method === 'POST' && pathname === '/v1/payments') return create(request, response);
  if (request.method === 'GET' && pathname === '/v1/payments/export') return exportAll(response);
  if (!one) return answer(response, 404, { error: 'no such route' });
  const payment = payments.get(one[1]);
  if (!payment) return answer(response, 404, { error: 'no such payment' });
  if (one[2] && request.method === 'POST') {
    if (payment.state === 'refunded') return answer(response, 409, { error: 'refunded before' });
    payment.state = 'refunded';
    return answer(response, 201, payment);
  }
  if (!one[2] && request.method === 'GET') return answer(response, 200, payment);
  return answer(response, 405, { error: 'no such method' });
}

const server = http.createServer((request, response) => {
  route(request, response).catch((error) => {
    if (response.headersSent) response.destroy();
    else answer(response, error instanceof SyntaxError ? 400 : 500, { error: String(error.message) });
  });
});
server.keepAliveTimeout = 60_000;
server.listen(port, '127.0.0.1', () => process.stdout.write(`ready ${server.address().port}\n`));
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();

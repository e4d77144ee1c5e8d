// Listens on a UNIX socket of this path and answers every request with its target.

import http from 'node:http';

const [path] = process.argv.slice(2);
const server = http.createServer((request, response) => {
  request.resume();
  request.on('end', () => response.end(request.url));
});
server.listen(path, () => console.log('ready'));

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** A server for the networks' tests: it tells each client the address that it sees, and sends back what it gets. */
const plain = (address: string | undefined) => address?.replace('::ffff:', '');

for (const port of process.argv.slice(2).map(Number)) {
  createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => {});
    client.write(`from ${plain(client.remoteAddress)}\n`);
    client.pipe(client);
  }).listen(port);
  const socket = createSocket('udp4');
  socket.on('message', (data, from) => socket.send(`from ${from.address}\n${data}`, from.port, from.address));
  socket.bind(port);
}
setTimeout(() => process.stdout.write('ready\n'), 50);

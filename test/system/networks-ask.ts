import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

/** A client for the networks' tests: sends `ping`, closes its side, prints what it gets. Prints nothing when refused. */
const [address = '', port = '', protocol = 'tcp', bind = ''] = process.argv.slice(2);
setTimeout(() => process.exit(1), 500);

if (protocol === 'udp') {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data, from) => {
    process.stdout.write(`${data} by ${from.address}`);
    process.exit(0);
  });
  socket.on('error', () => process.exit(1));
  if (bind) socket.bind(Number(bind));
  socket.send('ping', Number(port), address);
} else {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('end', () => process.exit(0));
  socket.on('error', () => process.exit(1));
  socket.end('ping');
}

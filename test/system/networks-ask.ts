import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

/**
 * A client for the networks' tests: sends `ping`, closes its side, prints what it gets. Prints nothing when refused.
 * `talk` keeps one connection and prints what comes back, until the connection or this process is ended.
 */
const [address = '', port = '', protocol = 'tcp', bind = ''] = process.argv.slice(2);
if (protocol !== 'talk') setTimeout(() => process.exit(1), 800);

if (protocol === 'udp') {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data, from) => {
    process.stdout.write(`${data} by ${from.address}`);
    process.exit(0);
  });
  socket.on('error', () => process.exit(1));
  if (bind) socket.bind(Number(bind));
  socket.send('ping', Number(port), address);
} else if (protocol === 'talk') {
  const socket = connect({ host: address, port: Number(port) });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('close', () => process.exit(1));
  socket.on('error', () => process.exit(1));
  setInterval(() => socket.write('x'), 50);
} else {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('end', () => process.exit(0));
  socket.on('error', () => process.exit(1));
  socket.end('ping');
}

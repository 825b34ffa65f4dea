import { EngineError } from '../base/errors.ts';
import { type EngineClient, ResponseError } from '../client/client.ts';
import { type ContainerInfo, inspectContainer } from './container-info.ts';

/** A refusal because a port or an address is taken, with the name of who has it and what may be done. All others as they are. */
export async function withHolder(client: EngineClient, error: unknown): Promise<unknown> {
  if (!(error instanceof ResponseError)) return error;
  const { status } = error;
  // The engine's own advice stands in its message; it does not know our commands.
  const message = error.message.replace(/\s+try: [^]*$/, '');
  const told = (text: string, hint: string) => new ResponseError(status, text, { cause: error, hint });
  const [, address = '', port = '', id] =
    /Bind for (\S+):(\d+) failed: port is already allocated(?: \(by container ([0-9a-f]{12})\))?/.exec(message) ?? [];
  if (port !== '') {
    if (id === undefined) return told(message, `berth ports, or publish on another port: -p ${nextPort(port)}:PORT`);
    const name = await nameOf(client, id);
    return told(
      `port ${port} of ${address} is taken by container ${name}: ${message}`,
      `berth stop ${name}, or publish on another port: -p ${nextPort(port)}:PORT`,
    );
  }
  const [, bound = '', process] =
    /failed to bind host port for \S*?:(\d+):[0-9a-f.:]+:\d+\/\w+: address already in use(?: \(by (.+?\(pid \d+\))\))?/.exec(
      message,
    ) ?? [];
  if (bound !== '')
    return told(
      `port ${bound} is taken${process ? ` by ${process}, which is no container` : ''}: ${message}`,
      `stop ${process ?? 'the process that listens there'}, or publish on another port: -p ${nextPort(bound)}:PORT`,
    );
  return error;
}

/** The same for an address that was asked for in a network: `Address already in use` says neither which nor whose. */
export async function withAddressHolder(
  client: EngineClient,
  error: unknown,
  addresses: readonly string[],
): Promise<unknown> {
  if (!(error instanceof EngineError) || !/Address already in use/.test(error.message) || addresses.length === 0)
    return error;
  const holder = await holderOf(client, addresses).catch(() => undefined);
  const what = holder?.address ?? addresses.join(', ');
  const by = holder ? ` is taken by container ${holder.name} in network ${holder.network}` : ' is taken';
  return new EngineError(error.kind, `address ${what}${by}: ${error.message}`, {
    cause: error,
    hint: holder ? `ask for another address, or berth rm -f ${holder.name}` : 'ask for another address',
  });
}

async function holderOf(client: EngineClient, addresses: readonly string[]) {
  const listed = await client.json<readonly { readonly Id: string }[]>('GET', '/containers/json');
  for (const { Id } of listed) {
    const container = await inspectContainer(client, Id).catch((): ContainerInfo | undefined => undefined);
    for (const [network, settings] of Object.entries(container?.NetworkSettings.Networks ?? {})) {
      const own = settings as { readonly IPAddress?: string; readonly GlobalIPv6Address?: string };
      const address = addresses.find((one) => one === own.IPAddress || one === own.GlobalIPv6Address);
      if (address !== undefined) return { name: container!.Name.slice(1), network, address };
    }
  }
  return undefined;
}

async function nameOf(client: EngineClient, id: string): Promise<string> {
  const found = await inspectContainer(client, id).catch(() => undefined);
  return found?.Name.slice(1) ?? id;
}

const nextPort = (port: string) => String(Number(port) < 65_535 ? Number(port) + 1 : 1024);

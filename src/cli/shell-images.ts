import { type EngineClient, ResponseError } from '../client/client.ts';

export interface ImageItem {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
  readonly Size: number;
}

/** Names of images that have a shell and the tools that one looks for trouble with, the best first. */
const good = ['netshoot', 'nixery', 'busybox', 'alpine', 'debian', 'ubuntu', 'fedora', 'rocky', 'bash'];

/** Local images in the order in which they are worth a try: those known to have a shell, then the others, small ones first. */
export function byPromise(images: readonly ImageItem[]): readonly string[] {
  const rank = (name: string) => {
    const at = good.findIndex((word) => new RegExp(`(^|/)${word}(:|$)`).test(name));
    return at < 0 ? good.length : at;
  };
  return images
    .flatMap(({ RepoTags, Size }) => (RepoTags?.length ? [{ name: RepoTags[0]!, size: Size }] : []))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.size - b.size)
    .map(({ name }) => name);
}

/** So many are tried: each costs a container that does not start. */
const mostTried = 8;

/** The first local image whose `sh` runs, `own` tried last; undefined when none of the likely ones has one. */
export async function imageWithShell(client: EngineClient, own: string): Promise<string | undefined> {
  const images = await client.json<readonly ImageItem[]>('GET', '/images/json');
  const names = byPromise(images).filter((name) => name !== own);
  for (const name of [...names.slice(0, mostTried), own]) if (await hasShell(client, name)) return name;
  return undefined;
}

async function hasShell(client: EngineClient, image: string): Promise<boolean> {
  try {
    const { Id } = await client.json<{ Id: string }>('POST', '/containers/create', {
      json: {
        Image: image,
        Entrypoint: ['sh'],
        Cmd: ['-c', 'exit 0'],
        Labels: { 'berth.debug': 'probe' },
        HostConfig: { NetworkMode: 'none' },
      },
    });
    try {
      // That it starts says all: a program that is not there, or not for this processor, does not.
      await client.json('POST', `/containers/${Id}/start`);
      return true;
    } finally {
      await client.json('DELETE', `/containers/${Id}`, { query: { force: 1, v: 1 } });
    }
  } catch (error) {
    if (error instanceof ResponseError) return false;
    throw error;
  }
}

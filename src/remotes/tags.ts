import type { Reference } from '../oci/reference.ts';
import { RegistryError, shown } from './errors.ts';
import type { Ask } from './session.ts';
import type { Reply } from './transport.ts';

export interface TagsDeps {
  ask(ask: Ask): Promise<Reply>;
  read(reply: Reply): Promise<Buffer>;
  refusal(reply: Reply): Promise<RegistryError>;
}

const mostPages = 1000;

/** All tags, page by page (distribution-spec, Listing Tags). */
export async function listTags(reference: Reference, { ask, read, refusal }: TagsDeps): Promise<readonly string[]> {
  const list = `v2/${reference.path}/tags/list`;
  const tags: string[] = [];
  let query = '?n=1000';
  for (let page = 0; page < mostPages; page++) {
    const reply = await ask({ path: list + query });
    if (reply.status !== 200) throw await refusal(reply);
    tags.push(...readPage(reply, await read(reply)));
    const next = nextPage(reply);
    if (next === undefined) return tags;
    query = next;
  }
  throw new RegistryError(
    'corrupt',
    `the list of tags at ${reference.domain}/${reference.path} has more than ${mostPages} pages`,
  );
}

function readPage({ url }: Reply, body: Buffer): readonly string[] {
  const wrong = (why: string) => new RegistryError('corrupt', `Get "${shown(url)}": ${why}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    throw wrong('the answer is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || !('tags' in parsed))
    throw wrong('the answer has no list of tags');
  // distribution writes null for none
  const tags: unknown = parsed.tags ?? [];
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string' && /^\w[\w.-]{0,127}$/.test(tag)))
    throw wrong('the list of tags holds what is no tag');
  return tags as string[];
}

/** The query of the next page. Only the query: whatever the link says, the next page is at the same place (S32). */
function nextPage({ url, headers }: Reply): string | undefined {
  const link = headers.link;
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(typeof link === 'string' ? link : '');
  return target ? URL.parse(target[1]!, url.href)?.search || undefined : undefined;
}

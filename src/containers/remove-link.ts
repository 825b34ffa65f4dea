import { EngineError } from '../base/errors.ts';
import { withoutLink } from './network-files.ts';
import { type Room, recordKind } from './room.ts';
import { editHosts } from './write-network-files.ts';

/** `docker rm --link web/db`: durable when it returns; a container that runs no longer knows the name. */
export async function removeLink(room: Room, name: string): Promise<void> {
  const { store } = room;
  const found = store.findLink(name);
  if (!found) {
    store.get(name);
    throw new EngineError('conflict', 'Conflict, cannot remove the default link name of the container');
  }
  const { id } = found.owner;
  await room.queue.run(id, async () => {
    const again = store.findLink(name);
    if (again?.owner.id !== id)
      throw new EngineError('not-found', `No such container: ${name}`, { code: 'E_NO_SUCH_CONTAINER' });
    const { owner, link } = again;
    const links = (owner.links ?? []).filter((one) => one !== link);
    const record = { ...owner, links };
    room.supersede(id);
    await room.deps.database.write([{ kind: recordKind, key: id, value: record }]);
    room.update(id, { links }, { save: false });
    editHosts(owner, (hosts) => withoutLink(hosts, link.alias));
  });
}

/**
 * The rooms of `src/`, lowest floor first. A room uses only rooms on floors below its own: never a neighbour on the same
 * floor, never a room above. Held by `test/architecture.test.ts`.
 */
export const floors: readonly (readonly string[])[] = [
  ['base'],
  ['oci', 'sys', 'protocol'],
  ['state', 'events', 'content', 'client', 'quotas'],
  ['snapshots', 'remotes', 'networks', 'runtime', 'volumes'],
  ['layers'],
  ['images', 'archive'],
  ['containers'],
  ['adopt'],
  ['api'],
  ['daemon'],
  ['cli'],
];

import { dial } from '../../client/address.ts';
import type { Command } from '../command.ts';
import { engineAddress } from '../connect.ts';
import { ownEnds, passOn } from '../dial-stdio.ts';

/** What `docker -H ssh://` and our own CLI run on the other machine. */
export const dialStdio: Command = {
  usage: 'system dial-stdio',
  about:
    'Carries bytes between stdin, stdout and the engine, both ways, until the engine has said its last: what\n`docker -H ssh://host` and `berth -H ssh://host` run on the host.',
  options: {},
  operands: { least: 0, most: 0 },
  examples: ["DOCKER_HOST=ssh://root@host docker ps     # the host's docker command, or a link to this one, is asked"],
  async run() {
    await passOn(await dial(engineAddress()), ownEnds());
    // What stdin still could bring is nobody's any more; waiting for it is how such sessions hang.
    process.exit(0);
  },
};

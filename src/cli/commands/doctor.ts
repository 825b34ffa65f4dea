import { examine } from '../../daemon/doctor/doctor.ts';
import { applyFixes, renderJson, renderText, worst } from '../../daemon/doctor/finding.ts';
import { LinuxHost } from '../../daemon/doctor/host.ts';
import type { Command } from '../command.ts';
import { engineConfig } from '../engine-config.ts';
import { plain } from '../terminal.ts';

export const doctor: Command = {
  usage: 'doctor [--fix] [--json]',
  about:
    'Checks this machine for what the engine needs: kernel, cgroups, runtimes and their known holes, storage, other\nfirewalls. Says what is wrong and the cure. Needs no engine. Exit code 1 when a check fails.',
  options: { fix: { about: 'apply the cures that are safe' }, json: { about: 'the findings as JSON' } },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const config = engineConfig(undefined);
    const host = new LinuxHost();
    const look = () =>
      examine({
        host,
        dataRoot: config.root,
        bridge: config.bridge,
        ...(config.daemonJson && { daemonJson: config.daemonJson }),
      });
    let findings = await look();
    if (parsed.flag('fix')) {
      for (const { name, error } of await applyFixes(findings))
        process.stderr.write(error === undefined ? `fixed ${name}\n` : `${name} could not be fixed: ${plain(error)}\n`);
      findings = await look();
    }
    process.stdout.write(parsed.flag('json') ? renderJson(findings) : renderText(findings));
    return worst(findings) === 'fail' ? 1 : 0;
  },
};

import { hostname } from 'node:os';
import { GoStruct } from '../protocol/go-values.ts';
import { parseTag } from '../protocol/log-options.ts';
import type { ContainerRecord } from './record.ts';
import { millisecondsOf } from './time.ts';

/** What a log says of its container. */
export type Described = Pick<
  ContainerRecord,
  'id' | 'name' | 'created' | 'image' | 'path' | 'args' | 'config' | 'hostConfig'
> & { readonly files: Pick<ContainerRecord['files'], 'log'> };

/** The option `tag` with what it names of the container. Throws `invalid` in the words of Go's templates. */
export function tagOf(container: Described, template: string): string {
  return parseTag(template).run(logInfo(container));
}

/** Docker's `logger.Info`, which templates and tags are written for. */
function logInfo({ id, name, created, image, path, args, config, hostConfig, files }: Described): GoStruct {
  const isFile = hostConfig.LogConfig.Type === 'json-file';
  return new GoStruct(
    '*logger.Info',
    {
      Config: new Map(Object.entries(hostConfig.LogConfig.Config ?? {})),
      ContainerID: id,
      ContainerName: `/${name}`,
      ContainerEntrypoint: path,
      ContainerArgs: args,
      ContainerImageID: image,
      ContainerImageName: config.Image,
      ContainerCreated: goTime(created),
      ContainerEnv: config.Env,
      ContainerLabels: new Map(Object.entries(config.Labels)),
      LogPath: isFile ? files.log : '',
      DaemonName: 'docker',
    },
    {
      ID: () => id.slice(0, 12),
      FullID: () => id,
      Name: () => name,
      // With the name of the hash, as Docker cuts it.
      ImageID: () => image.slice(0, 12),
      ImageFullID: () => image,
      ImageName: () => config.Image,
      Command: () => [path, ...args].join(' '),
      Hostname: () => hostname(),
    },
  );
}

/** A time.Time: printed as Go does, with the method that needs no argument and is of use. */
function goTime(text: string): GoStruct {
  const printed = text.replace(/^(\S+?)T(\S+?)Z$/, '$1 $2 +0000 UTC');
  return new GoStruct(
    'time.Time',
    {},
    { Unix: () => Math.floor(millisecondsOf(text) / 1000), String: () => printed },
    printed,
  );
}

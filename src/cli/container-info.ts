import type { EngineClient } from '../client/client.ts';
import type { ContainerConfig, EndpointSettings, HostConfig } from '../protocol/container.ts';

/** What commands read of `GET /containers/{id}/json`. */
export interface ContainerInfo {
  readonly Id: string;
  /** With a slash before it. */
  readonly Name: string;
  readonly Created: string;
  readonly Path: string;
  readonly Args: readonly string[];
  /** The digest of its image. */
  readonly Image: string;
  readonly State: ContainerState;
  readonly RestartCount: number;
  readonly ExecIDs: readonly string[] | null;
  readonly Config: ContainerConfig;
  readonly HostConfig: HostConfig;
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>>;
    readonly Networks: Readonly<Record<string, EndpointSettings>>;
  };
}

export interface ContainerState {
  readonly Status: string;
  readonly Running: boolean;
  readonly OOMKilled: boolean;
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error: string;
  readonly StartedAt: string;
  readonly FinishedAt: string;
  /** Only of a container with a health check, and of an engine that runs them. */
  readonly Health?: {
    readonly Status: string;
    readonly FailingStreak: number;
    readonly Log: readonly { readonly End: string; readonly ExitCode: number; readonly Output: string }[] | null;
  };
}

export function inspectContainer(client: EngineClient, name: string): Promise<ContainerInfo> {
  return client.json<ContainerInfo>('GET', `/containers/${encodeURIComponent(name)}/json`);
}

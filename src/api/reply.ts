/** What a handler gives back: a whole body, or something that goes on writing. */
export type Reply = BodyReply | StreamReply;

export interface BodyReply {
  readonly status: number;
  readonly type?: string;
  readonly body?: string | Buffer;
  /** Name, value, name, value. */
  readonly headers?: readonly string[];
}

export interface StreamReply {
  readonly status: number;
  readonly type: string;
  readonly headers?: readonly string[];
  /** Neither length nor chunks: it ends when the connection does. */
  readonly raw?: boolean;
  /** Called once the headers are on their way. When it throws, the connection is cut: the client must not take it for whole. */
  readonly run: (out: Out) => Promise<void>;
}

export interface Out {
  /** Resolves when there is room for more; rejects when the client has gone. */
  write(chunk: string | Uint8Array): Promise<void>;
  /** Writes without waiting; what the client does not take is kept. */
  push(chunk: string | Uint8Array): void;
  /** Bytes that the client has not taken yet. */
  readonly waiting: number;
  /** Aborted when the client goes, or the engine stops. */
  readonly signal: AbortSignal;
}

export function jsonText(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

export function json(status: number, value: unknown): BodyReply {
  return { status, type: 'application/json', body: jsonText(value) };
}

/** JSON that was made before. */
export function jsonBytes(body: Buffer | string): BodyReply {
  return { status: 200, type: 'application/json', body };
}

export function text(status: number, body: string): BodyReply {
  return { status, type: 'text/plain; charset=utf-8', body };
}

export function empty(status: number): BodyReply {
  return { status };
}

export function stream(type: string, run: (out: Out) => Promise<void>): StreamReply {
  return { status: 200, type, run };
}

export function isStream(reply: Reply): reply is StreamReply {
  return 'run' in reply;
}

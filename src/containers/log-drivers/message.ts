/** A line that a container wrote, or a part of one that was too long. */
export interface LogMessage {
  /** Without the newline. */
  readonly text: Buffer;
  readonly stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
  /** Of a line in parts: which, its number from 1, and whether it is the last. */
  readonly partial: { readonly id: string; readonly ordinal: number; readonly last: boolean } | undefined;
}

/** Where messages go. One at a time: whoever sends waits. */
export interface LogSink extends AsyncDisposable {
  /** Resolves when all were taken by the other side or by the kernel. Rejects when it cannot be reached: to be sent again. */
  send(messages: readonly LogMessage[]): Promise<void>;
}

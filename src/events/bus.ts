/** What happened, in the words of Docker's events (engine-api.md, section 7). */
export interface EngineEvent {
  readonly type: 'container' | 'image' | 'network' | 'volume' | 'daemon' | 'builder';
  readonly action: string;
  readonly actor: { readonly id: string; readonly attributes: Readonly<Record<string, string>> };
  /** Nanoseconds since 1970, strictly rising. */
  readonly timeNano: bigint;
}

export type NewEvent = Omit<EngineEvent, 'timeNano'>;

/** The stream of what happened, with a history of the last 1,024 events. Emitting never waits and never throws. */
export interface Events {
  emit(event: NewEvent): void;
  /** The history as it is now, oldest first. */
  history(): readonly EngineEvent[];
  /** Calls `listener` for every event from now on, in order, until the returned disposable is disposed. */
  listen(listener: (event: EngineEvent) => void): Disposable;
  readonly listeners: number;
}

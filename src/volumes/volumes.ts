/** A volume on this host: a directory that containers share and that outlives them. */
export interface Volume {
  readonly name: string;
  readonly driver: 'local';
  /** The directory that is mounted. */
  readonly mountpoint: string;
  /** RFC 3339, in milliseconds: tells a volume from a later one of the same name. */
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** Made for one container; goes with `rm -v`. */
  readonly anonymous: boolean;
}

export interface Volumes {
  list(): readonly Volume[];
  /** Throws `not-found` (`get x: no such volume`). */
  get(name: string): Volume;
  /** Durable when it returns; an existing volume of that name is returned as it is. '' makes an anonymous one. */
  create(request: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    /** What the driver `local` takes: `type`, `device`, `o`. */
    readonly options?: Readonly<Record<string, string>>;
    /** Nobody chose the name, although it is given: who makes the volume wrote down before that it will be there. */
    readonly anonymous?: boolean;
  }): Promise<Volume>;
  /**
   * A volume that another engine had, with a copy of its data, or none where its options say what is mounted. Durable, and
   * whole or not there. Throws `conflict` when there is one of its name, `canceled` when it was given up.
   */
  adopt(
    volume: Omit<Volume, 'driver' | 'mountpoint'>,
    from: string | undefined,
    options: AdoptOptions,
  ): Promise<Volume>;
  /** Bytes that its data takes on the disk: counted each time. */
  usage(name: string): Promise<number>;
  /** Deletes the data at once. Whether it is in use is asked of `users`. */
  remove(name: string, options: { readonly force: boolean }): Promise<void>;
  /** A container is going to use it: mounted when it returns, where its options say so. One that is not there is no error. */
  attach(name: string, container: string): Promise<void>;
  detach(name: string, container: string): Promise<void>;
  /** After a start of the engine, once it is known which containers run: what nobody uses is unmounted. */
  recover(usersOf: (name: string) => readonly string[]): Promise<void>;
  /** Removes those without options that nobody uses and that are accepted, and counts the bytes of their files. */
  prune(
    accept: (volume: Volume) => boolean,
    signal: AbortSignal,
  ): Promise<{ readonly names: readonly string[]; readonly bytes: number }>;
  /**
   * Fills a volume that is empty with what the image has at the mount point (copy-up), keeping owner, mode, times, links
   * and extended attributes. Done at most once in a volume's life; one that is mounted from somewhere else is filled
   * whenever it is empty.
   */
  fill(name: string, from: string): Promise<void>;
}

export interface AdoptOptions {
  readonly signal: AbortSignal;
  /** Bytes copied so far. */
  readonly progress?: (bytes: number) => void;
  /** The copy is whole, at this path, and nobody sees it yet. */
  readonly copied?: (path: string) => Promise<void>;
}

/** Who uses a volume. `containers/` implements it, `daemon/` hands it over. */
export interface VolumeUsers {
  usersOf(name: string): readonly string[];
}

/** One line of `starts.log`: an actual start. Tests count effects with it, so nothing else may write one. */
export interface StartLine {
  readonly placement: string;
  readonly component: string;
  readonly job: string;
  readonly generation: number;
  readonly epoch: number;
  /** Spawns under these labels so far: 1 is the start itself, more are restarts by policy. */
  readonly count: number;
  readonly pid?: number | undefined;
  /** Of the noop driver: this start's position among all of its starts. */
  readonly order?: number | undefined;
}

export const STARTS_LOG = "starts.log";

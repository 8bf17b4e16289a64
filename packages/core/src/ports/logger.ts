/** What a shell needs of a logger. Structured: facts in `data`, a fixed sentence in `message`. Core itself never logs. */
export interface Logger {
  debug(data: object, message: string): void;
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
  child(bindings: object): Logger;
}

/** Wraps every method of a group, so that no statement's error leaves the package as the driver made it. */
import { toStoreError } from "./errors.ts";

/** `before` may refuse; methods must be asynchronous. */
export function guard<T extends object>(methods: T, before: () => void = () => undefined): T {
  const guarded: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(methods) as [string, (...args: unknown[]) => Promise<unknown>][]) {
    guarded[name] = async (...args: unknown[]): Promise<unknown> => {
      try {
        before();
        return await method(...args);
      } catch (error) {
        throw toStoreError(error);
      }
    };
  }
  return guarded as T;
}

/**
 * Compose allows more in names than Skep does. A name is made valid in one way only, so that the same file always
 * gives the same components, and what a service was called stays a name that its siblings reach it by.
 */
import { isName } from "@skep/core";
import type { Entry } from "./tree.ts";
import type { Notes } from "./fault.ts";

/** my_db → my-db. undefined: nothing of it can be kept. */
export function validName(name: string): string | undefined {
  const made = name.toLowerCase().replace(/[^a-z0-9-]/g, "-").replace(/^-+/, "");
  return isName(made) ? made : undefined;
}

/** The component of each service; faults for services that cannot have one of their own. */
export function componentNames(services: ReadonlyMap<string, Entry>, notes: Notes): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const [service, { key }] of services) {
    const name = validName(service);
    const other = name === undefined ? undefined : owners.get(name);
    if (name === undefined) notes.refuse("bad_value", key, `${service} cannot be made a component's name: use 1 to 63 of a-z, 0-9 and -, not beginning with -`);
    else if (other !== undefined) notes.refuse("clash", key, `${service} and ${other} (${notes.locate(services.get(other)!.key)}) both become the component ${name}: rename one`);
    else {
      owners.set(name, service);
      names.set(service, name);
    }
  }
  return names;
}

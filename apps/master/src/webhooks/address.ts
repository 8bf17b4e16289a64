/**
 * Where alerts may be sent. An admin names the URL, and still it is judged as an agent's address is: a token must not
 * be able to make the master speak to the cloud's metadata service, nor to what listens on the master's own loopback
 * and trusts whoever comes from there. Private networks are allowed: that is where receivers live.
 */
import { isIP } from "node:net";
import { SkepError } from "@skep/core";
import { isLocalName, judgeAddress, lookupAll } from "../agents/address.ts";

export interface WebhookUrl {
  readonly url: URL;
  /** The literal address; undefined while it is a name that must be resolved. */
  readonly ip: string | undefined;
}

/** Judges the text without touching the network. Throws `webhook_url_refused`; no message repeats the URL, whose path is often a secret. */
export function checkWebhookUrl(text: string, allowLoopback: boolean): WebhookUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) throw refused("it must be a URL that begins with https:// or http://");
  if (url.username !== "" || url.password !== "") throw refused("a name and password in it would be sent in the clear; receivers know us by the signature");
  if (url.port === "0") throw refused("port 0 is not a port to call");
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  if (isIP(host) === 0) {
    if (isLocalName(host) && !allowLoopback) throw refused("loopback addresses need a master started with --allow-loopback-agents");
    return { url, ip: undefined };
  }
  judgeAddress(host, { allowLoopback, allowedCidr: undefined }, refused);
  return { url, ip: host };
}

/** The literal address to connect to, resolved once for each request: a second DNS answer changes nothing. */
export async function resolveWebhookUrl(text: string, allowLoopback: boolean, resolve: (name: string) => Promise<readonly string[]> = lookupAll): Promise<{ readonly url: URL; readonly ip: string }> {
  const { url, ip } = checkWebhookUrl(text, allowLoopback);
  if (ip !== undefined) return { url, ip };
  const found = await resolve(url.hostname);
  for (const address of found) judgeAddress(address, { allowLoopback, allowedCidr: undefined }, refused);
  if (found[0] === undefined) throw refused("its name has no address");
  return { url, ip: found[0] };
}

const refused = (why: string): SkepError => new SkepError("webhook_url_refused", `The webhook's URL is refused: ${why}.`);

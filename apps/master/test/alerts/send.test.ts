/** The sender alone: names, TLS, and that nothing a receiver does gets further than a status. */
import { createServer as createTlsServer } from "node:https";
import { systemClock } from "@skep/runtime";
import { eventually, tempAuthority } from "@skep/testkit";
import { expect, test } from "vitest";
import { createWebhookSender } from "../../src/webhooks/send.ts";
import { startReceiver } from "./receiver.ts";

const BODY = JSON.stringify({ schema_version: 1, delivery_id: "00000000-0000-7000-8000-000000000001", attempt: 1, type: "test", title: "x", alert: null });
const sender = (allowLoopback: boolean) => createWebhookSender({ clock: systemClock(), allowLoopback, userAgent: "skep/test" });
const message = (url: string) => ({ url, secret: "whsec_x", deliveryId: "00000000-0000-7000-8000-000000000001", body: BODY });

test("a name is what the receiver sees, its address what is called", async () => {
  const receiver = await startReceiver(202);
  const { port } = new URL(receiver.url);
  expect(await sender(true).send(message(`http://localhost:${port}/x`))).toEqual({ kind: "answer", status: 202 });
  expect(receiver.received[0]!.headers.host).toBe(`localhost:${port}`);
  await receiver.close();
});

test("an address that is refused now, whatever it was when the webhook was made, is not called", async () => {
  const receiver = await startReceiver(200);
  expect(await sender(false).send(message(receiver.url))).toMatchObject({ kind: "failed", because: expect.stringContaining("--allow-loopback-agents") as string });
  expect(receiver.received).toEqual([]);
  await receiver.close();
});

test("a receiver whose certificate nobody vouches for hears nothing", async () => {
  const { certPem, keyPem } = tempAuthority().master();
  let asked = 0;
  const server = createTlsServer({ cert: certPem, key: keyPem }, (_request, response) => {
    asked += 1;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const outcome = await sender(true).send(message(`https://127.0.0.1:${(server.address() as { port: number }).port}/`));
  expect(outcome).toMatchObject({ kind: "failed", because: expect.stringMatching(/CERT|ISSUER|LEAF/) as string });
  expect(asked).toBe(0);
  server.close();
});

test("a master that stops lets go of what is on its way, and says so", async () => {
  const receiver = await startReceiver((_request, response) => void receiver.held.push(response));
  const one = sender(true);
  const sending = one.send(message(receiver.url));
  await eventually(() => receiver.held.length === 1, { what: "the request" });
  one.close();
  expect(await sending).toEqual({ kind: "failed", because: "the master stopped while it was sent" });
  await receiver.close();
});

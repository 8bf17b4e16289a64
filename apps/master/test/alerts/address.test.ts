/** Where a webhook may point, and that the connection goes where was judged. */
import { expect, test } from "vitest";
import { checkWebhookUrl, resolveWebhookUrl } from "../../src/webhooks/address.ts";

const refusal = (text: string, allowLoopback = false): string => {
  try {
    checkWebhookUrl(text, allowLoopback);
    return "allowed";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("private networks are where receivers live; loopback only where the master says so; metadata never", () => {
  for (const url of ["https://hooks.example/x?y=1", "http://10.0.0.7:9000/", "https://192.168.1.1/", "https://[fd00::1]/"]) expect(refusal(url)).toBe("allowed");
  for (const url of ["http://127.0.0.1/", "http://localhost:1/", "http://a.localhost/", "http://[::1]/", "http://169.254.1.1/", "http://0x7f.1/"]) {
    expect([url, refusal(url)]).toEqual([url, "webhook_url_refused"]);
    expect([url, refusal(url, true)]).toEqual([url, "allowed"]);
  }
  for (const url of ["http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://0.0.0.0/", "http://239.1.1.1/", "http://255.255.255.255/", "file:///etc/passwd", "https://u:p@hooks.example/", "x"]) expect([url, refusal(url, true)]).toEqual([url, "webhook_url_refused"]);
});

test("a name is judged by every address it has, and the first is the one that is called", async () => {
  const resolve = (...addresses: string[]) => resolveWebhookUrl("https://hooks.example/x", false, async () => addresses);
  expect(await resolve("192.0.2.1", "192.0.2.2")).toMatchObject({ ip: "192.0.2.1" });
  for (const bad of ["169.254.169.254", "127.0.0.1", "::ffff:127.0.0.1", "::1"]) await expect(resolve("192.0.2.1", bad)).rejects.toMatchObject({ code: "webhook_url_refused" });
  await expect(resolve()).rejects.toMatchObject({ code: "webhook_url_refused", detail: expect.stringContaining("no address") as string });
});

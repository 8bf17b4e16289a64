/** Where the master may call (faults F49): every refusal has its control. */
import { describe, expect, test } from "vitest";
import { checkAgentAddress, resolveAgentAddress, type AddressPolicy } from "./address.ts";

const STRICT = { allowLoopback: false, allowedCidr: undefined };
const LOCAL = { allowLoopback: true, allowedCidr: undefined };
const refusal = (text: string, policy: AddressPolicy = STRICT): string => {
  try {
    checkAgentAddress(text, policy);
    return "allowed";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test.each(["https://10.1.2.3:8444", "https://web-01.example:8444", "https://[2001:db8::1]:8444", "https://203.0.113.7", "https://10.1.2.3:8444/"])("control: %s", (url) => {
  expect(refusal(url)).toBe("allowed");
});

test.each([
  "http://10.1.2.3:8444", "ftp://10.1.2.3", "file:///etc/passwd", "unix:/run/docker.sock", "10.1.2.3:8444", "", "https://", "https://user:pw@10.1.2.3:8444",
  "https://10.1.2.3:8444/path", "https://10.1.2.3:8444/?q", "https://10.1.2.3:8444/#f", "https://10.1.2.3:0", "https://10.1.2.3:99999",
])("not a host and a port over https: %s", (url) => {
  expect(refusal(url)).toBe("address_refused");
});

describe("metadata, unspecified and multicast addresses, whatever the settings", () => {
  test.each([
    "169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376",
    "0.0.0.0", "0", "[::]", "224.0.0.1", "255.255.255.255", "[ff02::1]", "100.100.100.200", "169.254.170.2",
  ])("%s", (host) => {
    expect([refusal(`https://${host}:8444`), refusal(`https://${host}:8444`, LOCAL)]).toEqual(["address_refused", "address_refused"]);
  });
});

describe("loopback and link-local, unless allowed", () => {
  test.each(["127.0.0.1", "127.9.9.9", "localhost", "foo.localhost", "[::1]", "[::ffff:127.0.0.1]", "[::7f00:1]", "0x7f.1", "2130706433", "127.1", "169.254.1.1", "[fe80::1]", "[64:ff9b::7f00:1]"])("%s", (host) => {
    expect([refusal(`https://${host}:8444`), refusal(`https://${host}:8444`, LOCAL)]).toEqual(["address_refused", "allowed"]);
  });
});

test("allowed_cidr: inside, outside, the other family, and what cannot be read allows nothing", () => {
  const inside = (url: string, allowedCidr: string) => refusal(url, { allowLoopback: false, allowedCidr });
  expect(inside("https://10.1.2.3:8444", "10.1.0.0/16")).toBe("allowed");
  expect(inside("https://10.2.2.3:8444", "10.1.0.0/16")).toBe("address_refused");
  expect(inside("https://[::ffff:10.1.2.3]:8444", "10.1.0.0/16")).toBe("allowed");
  expect(inside("https://[2001:db8::1]:8444", "10.1.0.0/16")).toBe("address_refused");
  expect(inside("https://[2001:db8::1]:8444", "2001:db8::/32")).toBe("allowed");
  expect(inside("https://10.1.2.3:8444", "nonsense")).toBe("address_refused");
});

test("a name is judged by all that it resolves to, and the literal address is what is called", async () => {
  const names: Record<string, string[]> = { "good.example": ["10.1.2.3"], "evil.example": ["10.1.2.3", "169.254.169.254"], "loop.example": ["127.0.0.1"], "none.example": [] };
  const resolve = (name: string) => resolveAgentAddress(`https://${name}:8444`, STRICT, async (asked) => names[asked] ?? []);
  expect((await resolve("good.example")).ip).toBe("10.1.2.3");
  for (const name of ["evil.example", "loop.example", "none.example"]) await expect(resolve(name)).rejects.toMatchObject({ code: "address_refused" });
});

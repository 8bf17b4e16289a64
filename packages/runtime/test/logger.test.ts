import { expect, test } from "vitest";
import { createLogger } from "@skep/runtime";

/** The logger under test, and the lines it wrote. */
function record() {
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", name: "test", destination: { write: (line: string) => void lines.push(line) } });
  return { logger, lines, last: () => JSON.parse(lines.at(-1)!) as Record<string, unknown> };
}

const CANARY = "canary7f3a9c";

test("a line is JSON with name, level and time, and plain facts pass unchanged", () => {
  const { logger, last } = record();
  logger.info({ host: "web-01", token_id: "tid", tokens: 5, at: new Date(0), list: [1, { a: null }] }, "hello");
  expect(last()).toMatchObject({ level: "info", name: "test", msg: "hello", host: "web-01", token_id: "tid", tokens: 5, at: "1970-01-01T00:00:00.000Z", list: [1, { a: null }] });
  expect(last()["time"]).toMatch(/^\d{4}-.*Z$/);
});

test.each([
  ["a key", { token: CANARY }],
  ["a deep key", { a: { b: [{ headers: { Authorization: CANARY } }] } }],
  ["other spellings", { keyPem: CANARY, key_pem: CANARY, "set-cookie": CANARY, client_secret: CANARY, api_token: CANARY }],
  ["a token pasted into a value", { note: `use skp_ab12_${CANARY}AAAA` }],
  ["a database URL", { where: `postgres://skep:${CANARY}@127.0.0.1:5432/x` }],
  ["a header in a value", { header: `Bearer ${CANARY}` }],
  ["a private key", { file: `-----BEGIN EC PRIVATE KEY-----\n${CANARY}\n-----END EC PRIVATE KEY-----\n` }],
  ["bytes", { der: Buffer.from(CANARY) }],
])("no secret passes: %s", (_, data) => {
  const { logger, lines, last } = record();
  logger.info(data, "msg");
  logger.child({ ok: 1 }).child(data).info({}, "in a grandchild");
  logger.child(data).info({}, "in a child");
  expect(lines.join("")).not.toContain(CANARY);
  expect(last()["msg"]).toBe("in a child");
});

test("nor in the message", () => {
  const { logger, lines } = record();
  logger.warn({}, `created skp_ab12_${CANARY}0000`);
  expect(lines[0]).toContain("created skp_[redacted]");
  expect(lines[0]).not.toContain(CANARY);
});

test("a URL with a port and an @ later is left alone", () => {
  const { logger, last } = record();
  logger.info({ url: "http://127.0.0.1:8080/users/a@b" }, "x");
  expect(last()["url"]).toBe("http://127.0.0.1:8080/users/a@b");
});

test("a database error keeps its code and constraint and loses every bound value", () => {
  const { logger, lines, last } = record();
  const cause = Object.assign(new Error('duplicate key value violates unique constraint "tokens_hash"'), {
    code: "23505",
    detail: `Key (token_hash)=(${CANARY}) already exists.`,
    constraint: "tokens_hash",
    where: CANARY,
  });
  const err = Object.assign(new Error(`Failed query: insert into tokens values ($1)\nparams: ${CANARY}`, { cause }), { query: "insert", params: [CANARY] });
  logger.error({ err }, "failed");
  expect(lines.join("")).not.toContain(CANARY);
  expect(last()["err"]).toMatchObject({ message: "Failed query: insert into tokens values ($1)", cause: { code: "23505", constraint: "tokens_hash" } });
});

test("a data exception loses the value it quotes; another error keeps its quotes", () => {
  const { logger, lines, last } = record();
  logger.error({ err: Object.assign(new Error(`invalid input syntax for type uuid: "${CANARY}"`), { code: "22P02" }) }, "x");
  expect(lines.join("")).not.toContain(CANARY);
  logger.error({ err: Object.assign(new Error('relation "hosts" does not exist'), { code: "42P01" }) }, "x");
  expect((last()["err"] as { message: string }).message).toContain('"hosts"');
});

test("errors are printed wherever they are, with their stack, and cycles end", () => {
  const { logger, last } = record();
  const loop: Record<string, unknown> = { failure: new TypeError("bad") };
  loop["self"] = loop;
  logger.error(loop, "x");
  expect(last()["failure"]).toMatchObject({ type: "TypeError", message: "bad", stack: expect.stringContaining("at ") as string });
  const circular = new Error("a");
  circular.cause = circular;
  logger.error({ err: circular }, "y");
  expect(last()["msg"]).toBe("y");
});

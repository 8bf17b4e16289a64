/** The redrawn commands against an API that comes and goes, on a clock that the test moves. */
import { ManualClock, eventually } from "@skep/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openScreen } from "../src/screen/screen.ts";
import { fakeScreen, type FakeScreen } from "./fake-screen.ts";
import { NOW, problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { skep, type Ran } from "./run-skep.ts";
import { deployment, hostHealth, list, rowList } from "./samples.ts";
import { TOP } from "./top-samples.ts";

const ESCAPE = "\u001b";
let api: FakeApi;
let clock: ManualClock;
beforeEach(async () => {
  api = await startFakeApi();
  clock = new ManualClock(NOW);
});
afterEach(() => api.close());

function fleet(hosts: object = list(...TOP)): void {
  api.on("getFleetHealth", { body: { hosts: { active: 1, suspect: 1, unreachable: 1, pending: 1, decommissioned: 4 }, open_rows: { pending: 0, running: 2, lost: 1 }, deployments: {}, listening_since: "2026-11-20T19:00:00.000Z", warm: true } });
  api.on("listHostHealth", { body: hosts });
}

interface Running {
  readonly screen: FakeScreen;
  readonly ended: Promise<Ran>;
  readonly stop: AbortController;
  shows(what: string | RegExp): Promise<void>;
}

function start(argv: readonly string[], { columns = 80, rows = 24, color = false } = {}): Running {
  const screen = fakeScreen(columns, rows);
  const stop = new AbortController();
  let failure: unknown;
  const ended = skep(argv, {
    url: api.url, clock, tty: true, columns, color, device: screen.device, signal: stop.signal,
    onOut: (all) => {
      try {
        screen.receive(all);
      } catch (error) {
        failure ??= error;
      }
    },
  });
  return {
    screen, ended, stop,
    shows: async (what) => {
      await eventually((status) => {
        if (failure !== undefined) throw failure as Error;
        status(screen.text());
        return typeof what === "string" ? screen.text().includes(what) : what.test(screen.text());
      }, { what: `the screen to show ${String(what)}` });
    },
  };
}

/** Time passes in steps, so that whoever wakes by one can fall asleep again before the next. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    clock.advance(Math.min(500, left));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function quits({ screen, ended }: Running, code: number): Promise<Ran> {
  const ran = await ended;
  expect([ran.code, screen.alternate, screen.cursor, screen.raw]).toEqual([code, false, true, false]);
  expect(ran.out.split(`${ESCAPE}[?1049l`)).toHaveLength(2);
  return ran;
}

const FIRST = `\
skep top  20:00:00Z
Hosts    1 active, 1 suspect, 1 unreachable, 1 pending
Open     2 running, 1 lost

NAME         LIVENESS     REACH        CIRCUIT     BEAT  PLACED  ERR %   AVG
web-02       unreachable  unreachable  open       4m10s     0/3   62.5  3.1s
db-1         suspect      reachable    half_open    48s     1/2    2.5  12ms
collector-7  pending      unknown      closed     never       -      -     -
web-01       active       reachable    closed       12s     2/2    0.0  12ms`;

describe("top", () => {
  test("a screen of 80 by 24, worst first; q ends it with 0 and the terminal as it was", async () => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    expect(top.screen.rows().slice(0, 9).join("\n")).toBe(FIRST);
    expect(top.screen.rows()).toHaveLength(24);
    expect(top.screen.rows()[23]).toBe(`q quit  s sort (worst first)  every 2s  ${api.url}`);
    expect([top.screen.alternate, top.screen.cursor, top.screen.raw]).toEqual([true, false, true]);
    expect(api.seen.find((seen) => seen.id === "listHostHealth")!.query).toEqual({ sort: "attention", limit: "500" });
    top.screen.type("q");
    await quits(top, 0);
  });

  test.each([["Ctrl-C as a key", (top: Running) => top.screen.type("\u0003")], ["SIGINT or SIGTERM", (top: Running) => top.stop.abort()]])("%s: 130, and the terminal as it was", async (_, end) => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    end(top);
    await quits(top, 130);
  });

  test("the end of the process in the middle of it restores the terminal, once", async () => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    top.screen.exit();
    expect([top.screen.alternate, top.screen.cursor, top.screen.raw]).toEqual([false, true, false]);
    top.stop.abort();
    await quits(top, 130);
  });

  test("what asking again does not cure ends it: the terminal as it was first, then the words", async () => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    api.on("listHostHealth", problem("unauthenticated"));
    await clock.sleepers(2);
    await pass(2_000);
    const ran = await quits(top, 4);
    expect(ran.err).toContain("Error [unauthenticated]");
  });

  test("a question that hangs does not keep it from quitting", async () => {
    fleet();
    api.on("listHostHealth", () => new Promise(() => undefined));
    const top = start(["top"]);
    await top.shows(`asking ${api.url}`);
    await eventually(() => api.seen.some((seen) => seen.id === "listHostHealth"), { what: "the question" });
    top.screen.type("q");
    await quits(top, 0);
  });

  test("a master that is away is a line with the time of what is shown; when it is back, so is the screen", async () => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    await api.pause();
    await eventually(async () => {
      await pass(500);
      return top.screen.rows()[0]!.startsWith("no answer for ");
    }, { what: "the absence to be said" });
    await pass(10_000);
    expect(top.screen.rows()[0]).toMatch(/^no answer for 1\ds; showing what was known at 20:00:00Z; http/);
    // Nothing else has changed, and nothing looks fresh.
    expect(top.screen.rows().slice(1, 9).join("\n")).toBe(FIRST.split("\n").slice(1).join("\n"));
    fleet(list(hostHealth("web-09")));
    await api.resume();
    await eventually(async () => {
      await pass(500);
      return top.screen.text().includes("web-09");
    }, { what: "the new answer" });
    expect(top.screen.rows()[0]).toBe("skep top  20:00:00Z");
    expect(top.screen.text()).not.toContain("web-02");
    top.screen.type("q");
    await quits(top, 0);
  });

  test("a master that hangs is called silent before anything fails", async () => {
    fleet();
    const top = start(["top"]);
    await top.shows("web-01");
    const asked = (): number => api.seen.filter((seen) => seen.id === "listHostHealth").length;
    const before = asked();
    api.on("listHostHealth", () => new Promise(() => undefined));
    await clock.sleepers(2);
    await pass(2_000);
    await eventually(() => asked() > before, { what: "the question that hangs" });
    expect(top.screen.rows()[0]).toBe("skep top  20:00:00Z");
    await pass(8_000);
    expect(top.screen.rows()[0]).toMatch(/^no answer for 10s; showing what was known at 20:00:00Z; http/);
    top.screen.type("q");
    await quits(top, 0);
  });

  test("a master that never was there is a line too", async () => {
    await api.pause();
    const top = start(["top"]);
    await eventually(async () => {
      await pass(500);
      return /^no answer for \ds; asking again; http/.test(top.screen.text());
    }, { what: "the absence to be said" });
    fleet();
    await api.resume();
    await eventually(async () => {
      await pass(500);
      return top.screen.text().includes("web-01");
    }, { what: "the first answer" });
    top.screen.type("q");
    await quits(top, 0);
  });

  test("keys scroll and sort; the answer to the question before is thrown away", async () => {
    fleet(list(...Array.from({ length: 40 }, (_, n) => hostHealth(`web-${String(n).padStart(2, "0")}`))));
    const top = start(["top"], { rows: 12 });
    await top.shows("web-05");
    const shown = (): string[] => top.screen.rows().filter((row) => row.startsWith("web-")).map((row) => row.slice(0, 6));
    expect(shown()).toEqual(["web-00", "web-01", "web-02", "web-03", "web-04", "web-05"]);
    expect(top.screen.rows()[11]).toContain("1-6 of 40");
    for (const [key, first] of [["\u001b[B", "web-01"], ["\u001b[6~", "web-06"], ["\u001b[A", "web-05"], ["\u001b[F", "web-34"], ["\u001b[B", "web-34"], ["\u001b[5~", "web-29"], ["\u001b[H", "web-00"]] as const) {
      top.screen.type(key);
      expect([key, shown()[0]]).toEqual([key, first]);
    }
    // The one that is asked now is answered only after the next.
    let release: (() => void) | undefined;
    api.on("listHostHealth", ({ query }) => (query["sort"] === "name" ? { body: list(hostHealth("by-name")) } : new Promise((resolve) => (release = () => resolve({ body: list(hostHealth("too-late")) })))));
    await clock.sleepers(2);
    await pass(2_000);
    await eventually(() => release !== undefined, { what: "the slow question" });
    top.screen.type("s");
    await top.shows("s sort (by name)");
    release!();
    await top.shows("by-name");
    top.screen.type("s");
    await top.shows("s sort (worst first)");
    top.screen.type("q");
    // Not even for a moment.
    expect((await quits(top, 0)).out).not.toContain("too-late");
  });

  test("it follows the terminal's size", async () => {
    fleet();
    const top = start(["top"], { columns: 120, rows: 30 });
    await top.shows("REASON");
    top.screen.resize(60, 10);
    expect(top.screen.rows()).toHaveLength(10);
    expect(top.screen.rows()[4]).toBe("NAME         LIVENESS     REACH         BEAT  PLACED");
    top.screen.resize(60, 3);
    expect(top.screen.rows()).toEqual(["skep top  20:00:00Z", "Hosts    1 active, 1 suspect, 1 unreachable, 1 pending", "Open     2 running, 1 lost"]);
    top.screen.resize(120, 30);
    expect(top.screen.text()).toContain("REASON");
    top.screen.type("q");
    await quits(top, 0);
  });

  test("rows that did not change are not written again", async () => {
    fleet();
    let written = 0;
    const top = start(["top"], { color: true });
    await top.shows("web-01");
    const counted = top.ended.then((ran) => (written = ran.out.split("web-01").length - 1));
    await clock.sleepers(2);
    await pass(10_000);
    top.screen.type("q");
    await counted;
    expect(written).toBe(1);
  });

  test("without a terminal: one block, no escape code; --count more, one for each interval", async () => {
    fleet();
    const once = await skep(["top"], { url: api.url, clock });
    expect([once.code, once.err]).toEqual([0, ""]);
    expect(once.out.startsWith(`skep top  20:00:00Z  ${api.url}\nHosts    1 active`)).toBe(true);
    expect(once.out).toContain("heartbeat is 48 s old\\nand\\x1b[2J clears the screen");
    const thrice = skep(["top", "--count", "3", "--interval", "5s"], { url: api.url, clock, color: true });
    for (let n = 0; n < 2; n++) {
      await clock.sleepers(1);
      clock.advance(5_000);
    }
    const { out, code } = await thrice;
    expect([code, out.split("skep top").length - 1, out.includes(ESCAPE)]).toEqual([0, 3, false]);
    // On a terminal, too, --count prints and does not redraw.
    const printed = await skep(["top", "--count", "1"], { url: api.url, clock, tty: true, device: fakeScreen().device });
    expect(printed.out).not.toContain(ESCAPE);
  });

  test("--json: one document per block, what the API says inside it", async () => {
    fleet();
    const { out } = await skep(["top", "--json", "--sort", "name", "--label", "zone=eu1"], { url: api.url, clock, tty: true, device: fakeScreen().device });
    expect(JSON.parse(out)).toMatchObject({ schema_version: 1, at: "2026-11-20T20:00:00.000Z", fleet: { warm: true }, hosts: TOP });
    expect(api.seen.find((seen) => seen.id === "listHostHealth")!.query).toEqual({ sort: "name", limit: "500", label: "zone=eu1" });
  });

  test("without a terminal a master that is away costs its block, and the last one's failure is the command's", async () => {
    fleet();
    // As a proxy that finds no master behind it: a page, and none of our codes.
    const away = { body: "<html>", status: 503, headers: { "retry-after": "60" } };
    let blocks = 0;
    api.on("listHostHealth", () => (++blocks === 1 ? away : { body: list(...TOP) }));
    const ended = skep(["top", "--count", "2"], { url: api.url, clock });
    await clock.sleepers(1);
    clock.advance(2_000);
    const ran = await ended;
    expect([ran.code, ran.out.split("skep top").length - 1]).toEqual([0, 1]);
    expect(ran.err).toContain(`no answer from ${api.url}: `);
    api.on("listHostHealth", away);
    expect((await skep(["top"], { url: api.url, clock })).code).toBe(11);
  });

  test.each([["--interval", "0s"], ["--interval", "soon"], ["--count", "0"], ["--sort", "age"]])("top %s %s is refused before anything is asked", async (...argv) => {
    expect((await skep(["top", ...argv], { url: api.url, clock })).code).toBe(2);
    expect(api.seen).toEqual([]);
  });

  test("more hosts than a screen scrolls through are said, an empty fleet too", async () => {
    fleet({ items: TOP, next_cursor: "attention.1.x.y" });
    expect((await skep(["top"], { url: api.url, clock })).out).toContain("\nthe first 4 only; all of them: skep host ls\n");
    api.on("getFleetHealth", { body: { hosts: {}, open_rows: {}, deployments: {}, listening_since: "2026-11-20T19:59:59.000Z", warm: false } });
    api.on("listHostHealth", { body: list() });
    expect((await skep(["top"], { url: api.url, clock })).out).toBe(`skep top  20:00:00Z  ${api.url}\nHosts    none. Add one: skep host add NAME\n  the master has only begun to listen: silence proves nothing yet\nOpen     no operation\n`);
  });
});

describe("status --watch", () => {
  function deployments(...items: object[]): void {
    fleet();
    api.on("listHosts", { body: list() });
    api.on("listLifecycle", { body: rowList() });
    api.on("listDeployments", { body: list(...items) });
  }

  test("on a terminal it is redrawn in place", async () => {
    deployments(deployment("web"));
    const status = start(["status", "--watch"]);
    await status.shows("web   active");
    expect(status.screen.rows()[0]).toBe("skep status  20:00:00Z");
    expect(status.screen.rows()[1]).toMatch(/^Hosts {4}1 active/);
    deployments(deployment("web", { status: "degraded", last_error: "port 80 in use" }));
    await clock.sleepers(2);
    await pass(2_000);
    await status.shows("port 80 in use");
    status.screen.type("q");
    await quits(status, 0);
  });

  test("into a pipe: again only when something changed, and getting older is no change", async () => {
    deployments(deployment("web"));
    const stop = new AbortController();
    let [out, err] = ["", ""];
    const ended = skep(["status", "--watch"], { url: api.url, clock, color: true, signal: stop.signal, onOut: (all) => (out = all), onErr: (all) => (err = all) });
    const looks = (): number => api.seen.filter((seen) => seen.id === "listDeployments").length;
    const next = async (): Promise<void> => {
      const before = looks();
      await clock.sleepers(1);
      clock.advance(2_000);
      await eventually(() => looks() > before, { what: "the next look" });
    };
    for (let n = 0; n < 3; n++) await next();
    await clock.sleepers(1);
    expect(out.split("20:00:00Z")).toHaveLength(2);
    // The master's own clock moves on: an age is another one, and nothing is told.
    api.on("listDeployments", { body: list(deployment("web")), headers: { date: new Date(NOW + 3_600_000).toUTCString() } });
    await next();
    await clock.sleepers(1);
    expect(out).not.toContain("21:00:00Z");
    api.on("listDeployments", { body: list(deployment("web", { status: "degraded" })), headers: { date: new Date(NOW + 3_600_000).toUTCString() } });
    await next();
    await clock.sleepers(1);
    expect(out).toContain("\n\n21:00:00Z\nHosts    1 active");
    expect(out).toMatch(/web {3}degraded .* 1h1m /);
    expect(out).not.toContain(ESCAPE);
    await api.pause();
    await eventually(async () => {
      await pass(500);
      return err.includes("Asking again; what stands above may be old.");
    }, { what: "the absence to be said" });
    await api.resume();
    await eventually(async () => {
      await pass(500);
      return err.includes(`${api.url} answers again`);
    }, { what: "the return to be said" });
    stop.abort();
    expect((await ended).code).toBe(130);
  });

  test("before the first answer an absent master is an error, and --exit-code has no last look to judge", async () => {
    await api.pause();
    const ended = skep(["status", "--watch"], { url: api.url, clock });
    for (let n = 0; n < 3; n++) {
      await clock.sleepers(1);
      clock.advance(10_000);
    }
    expect((await ended).code).toBe(11);
    expect((await skep(["status", "--watch", "--exit-code"], { url: api.url, clock })).code).toBe(2);
    await api.resume();
  });
});

test("a screen whose terminal cannot be read is left as it was found", () => {
  const screen = fakeScreen();
  let all = "";
  const out = { write: (data: string | Uint8Array) => screen.receive((all += String(data))), isTty: true, columns: 80 };
  const device = { ...screen.device, readKeys: () => undefined };
  const opened = openScreen({ out, device, color: false, onKey: () => undefined, onResize: () => undefined });
  opened.draw(["one", "two"]);
  expect(screen.text()).toBe("one\ntwo");
  opened.close();
  opened.close();
  opened.draw(["three"]);
  expect([screen.alternate, screen.cursor, all.includes("three"), all.split("[?1049l").length]).toEqual([false, true, false, 2]);
});

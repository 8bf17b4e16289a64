/** A plain client of the operator API for tests: says what it got, retries only what the caller tells it to. */
import { request } from "undici";

export interface Answer<T = any> {
  readonly status: number;
  readonly body: T;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Api {
  readonly url: string;
  readonly token: string;
  call<T = any>(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer<T>>;
  get<T = any>(path: string): Promise<T>;
  post<T = any>(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer<T>>;
}

export function createApi(url: string, token: string): Api {
  const call: Api["call"] = async (method, path, body, headers = {}) => {
    const reply = await request(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headersTimeout: 20_000,
      bodyTimeout: 20_000,
    });
    const text = await reply.body.text();
    return { status: reply.statusCode, body: (text === "" ? undefined : /json/.test(String(reply.headers["content-type"])) ? JSON.parse(text) : text) as never, headers: reply.headers };
  };
  return {
    url, token, call,
    get: async (path) => {
      const answer = await call("GET", path);
      if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    post: (path, body, headers) => call("POST", path, body, headers),
  };
}

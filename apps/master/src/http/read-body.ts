/**
 * Request bodies: JSON and nothing else. One parser, chosen byte-exactly, so that no spelling of a content type can
 * reach a route around its schema (faults S19). What the ledger cannot store is refused here and not by the ledger.
 */
import { SkepError, type FieldError } from "@skep/core";
import type { FastifyInstance, FastifyRequest } from "fastify";

const JSON_TYPE = /^application\/json(; ?charset=utf-8)?$/i;
/** Escapes that could spell NUL or half a surrogate pair: PostgreSQL's jsonb has no form for either. */
const SUSPECT = /\\u0000|\\ud[89a-f][0-9a-f]{2}/i;
const UNSTORABLE = /\0|\p{Surrogate}/u;

/** Refuses a body that is not declared as JSON. Runs before the body is read. */
export function checkContentType(request: FastifyRequest): void {
  const { "content-type": type, "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (type === undefined ? encoding === undefined && (length === undefined || length === "0") : JSON_TYPE.test(type)) return;
  throw new SkepError("unsupported_media_type");
}

export function useJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, text: string, done) => {
    if (text === "") return done(null, undefined);
    void parse(request, text, (error, value: unknown) => {
      if (error !== null) return done(new SkepError("malformed_json"), undefined);
      const errors = SUSPECT.test(text) ? unstorable(value) : [];
      if (errors.length > 0) return done(new SkepError("invalid_request", "The body holds characters that cannot be stored.", { errors }), undefined);
      // A literal null would be taken for "no body" further on.
      if (value === null) return done(new SkepError("invalid_request", "The body is null.", { errors: [{ pointer: "", message: "must be an object" }] }), undefined);
      done(null, value);
    });
  });
}

/** Iterative: a body may be nested a hundred thousand deep. */
function unstorable(root: unknown): FieldError[] {
  const errors: FieldError[] = [];
  const todo: { pointer: string; value: unknown }[] = [{ pointer: "", value: root }];
  for (let item = todo.pop(); item !== undefined && errors.length < 20; item = todo.pop()) {
    const { pointer, value } = item;
    if (typeof value === "string") {
      if (UNSTORABLE.test(value)) errors.push({ pointer, message: "must not contain NUL or half a surrogate pair" });
    } else if (typeof value === "object" && value !== null) {
      for (const [key, child] of Object.entries(value)) {
        if (UNSTORABLE.test(key)) errors.push({ pointer, message: "a field name must not contain NUL or half a surrogate pair" });
        // Pointers are for people: past some depth nobody follows them, and they would cost more than the body.
        else todo.push({ pointer: pointer.length > 500 ? pointer : `${pointer}/${key.slice(0, 100)}`, value: child });
      }
    }
  }
  return errors;
}

/**
 * A command written as one string, split into words as a POSIX shell splits them, without a shell. What only a shell
 * could do (pipes, lists, redirections, substitutions) is refused instead of being passed on as words that look as if
 * they did it.
 */
export type Words = { readonly ok: true; readonly words: readonly string[] } | { readonly ok: false; readonly message: string };

const SHELL_ONLY = new Set([";", "&", "|", "<", ">", "(", ")", "`"]);

export function splitWords(text: string): Words {
  const words: string[] = [];
  let word: string | undefined;
  let quote: "'" | '"' | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]!;
    if (quote === "'") {
      if (char === "'") quote = undefined;
      else word += char;
    } else if (char === "\\" && (quote === undefined || '$`"\\\n'.includes(text[at + 1] ?? " "))) {
      const next = text[at + 1];
      if (next === undefined) return { ok: false, message: "ends in a backslash" };
      at += 1;
      // A backslash before a newline joins two lines.
      if (next !== "\n") word = (word ?? "") + next;
    } else if (quote === '"') {
      if (char === '"') quote = undefined;
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (SHELL_ONLY.has(char)) {
      return { ok: false, message: `${char} is for a shell, and none is run: quote it, or write [/bin/sh, -c, "…"]` };
    } else word = (word ?? "") + char;
  }
  if (quote !== undefined) return { ok: false, message: `the quote ${quote} is not closed` };
  if (word !== undefined) words.push(word);
  return { ok: true, words };
}

/** `skep`, the operator's command. `runCli` is the whole of it with its surroundings as arguments. */
export { runCli } from "./run-cli.ts";

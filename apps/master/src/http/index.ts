/** The operator API's public face within the master. */
export { createOperatorListener, type OperatorListener } from "./create-operator-listener.ts";
export { DEFAULT_OPERATOR_LIMITS, type OperatorDeps, type OperatorLimits } from "./settings.ts";
export { formatToken, newToken, parseToken, type NewToken } from "./tokens.ts";

/** The signature by which a receiver knows that a delivery is ours, whole and fresh. */
import { createHmac } from "node:crypto";

/** `v1=<hex HMAC-SHA256 over "<timestamp>.<body>">`, the key being the secret's text as it was shown. */
export const signatureOf = (secret: string, timestamp: string, body: string): string => `v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`;

/** The sync's one import of `svix`: 20 kB in version 2. Version 1 needs `svix/dist/webhook.js`, or all 280 kB load. */
export { Webhook, WebhookVerificationError } from "svix";

/** What verifies and signs events: the one import of `svix`, which takes 20 kB in version 2. Under version 1 it has to be `svix/dist/webhook.js`, or all of it is loaded, 280 kB. */
export { Webhook, WebhookVerificationError } from "svix";

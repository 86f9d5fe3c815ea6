import { httpRouter } from "convex/server";
import { webhook } from "./clerk/webhook";

const http = httpRouter();

http.route({ path: "/clerk-users-webhook", method: "POST", handler: webhook });

export default http;

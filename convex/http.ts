import { httpRouter } from "convex/server";
import { addClerkRoutes } from "./clerk/routes.js";

const http = httpRouter();

addClerkRoutes(http);

export default http;

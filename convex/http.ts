import { httpRouter } from "convex/server";
import { addClerkRoutes } from "./clerk/routes";

const http = httpRouter();

addClerkRoutes(http);

export default http;

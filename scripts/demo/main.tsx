/** The page's entry: the same chat room on a deployment, or on the demo's own process. */
import { StrictMode, type ComponentType } from "react";
import { createRoot } from "react-dom/client";
import "./style.css";

const { Page }: { Page: ComponentType } =
  import.meta.env.MODE === "in-process"
    ? await import("./in-process-page")
    : await import("./deployment-page");

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root.");
createRoot(root).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);

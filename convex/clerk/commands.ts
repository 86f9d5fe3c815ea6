/** Commands for people to paste, for the deployment that they are about. */
import type { DeploymentMetadata } from "convex/server";

type Context = { meta: { getDeploymentMetadata(): Promise<DeploymentMetadata> } };

/**
 * What selects the deployment that the code runs on: `--deployment happy-animal-123`, production or
 * not. Empty where the CLI can't be told by name: a local or self-hosted deployment has no region, and a
 * backend from before April 2026 does not know its name.
 */
export async function deploymentFlag({ meta }: Context): Promise<string> {
  const metadata = await metadataOf({ meta });
  const isNamed = metadata !== null && metadata.region !== null;
  return isNamed ? ` --deployment ${metadata.name}` : "";
}

async function metadataOf({ meta }: Context): Promise<DeploymentMetadata | null> {
  try {
    return await meta.getDeploymentMetadata();
  } catch {
    return null;
  }
}

/** @param args what the function is called with: booleans, numbers and names, so that quotes do */
export function runCommand(flag: string, name: string, args: Record<string, unknown> = {}): string {
  const given = Object.entries(args).filter(([, value]) => value !== undefined);
  const quoted = given.length === 0 ? "" : ` '${JSON.stringify(Object.fromEntries(given))}'`;
  return `npx convex run${flag} clerk/${name}${quoted}`;
}

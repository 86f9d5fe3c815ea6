/** What the app's own code gives a column of users. */
import type { Node } from "@babel/types";
import type { Spot } from "./app-function";
import type { OwnCode } from "./own-code";
import { bare, nameOf, textOf } from "./source";
import { passedAs, translate, type Said } from "./translate";
import { argumentsOf, initOf, type Write } from "./writes";

export type Given = { at: Spot; said: Said | null; text: string };

/** What the app's own inserts, patches and calls of them give a column. */
export function givenTo(name: string, own: OwnCode): Given[] {
  return own.writes.flatMap((write): Given[] => {
    if (write.kind === "insert") return valueIn(write, name, own);
    const value = write.columns.get(name);
    const { source, within } = write;
    const said = value && translate(value, { own, source, within });
    return value
      ? [{ at: { source, node: value, within }, said: said ?? null, text: textOf(source, value) }]
      : [];
  });
}

/** What an insert gives a column: nothing where it does not name it. */
export function valueIn({ row, source, within, node }: Write, name: string, own: OwnCode): Given[] {
  const at: Spot = { source, node, within };
  const untold: Given[] = [{ at, said: null, text: "…" }];
  const look = (given: Node, depth: number): Given[] => {
    const inner = bare(given);
    const init = inner.type === "Identifier" && within ? initOf(within.node, inner.name) : null;
    if (init && depth < 5) return look(init, depth + 1);
    if (inner.type !== "ObjectExpression") return passed(inner);
    // The last one wins.
    for (const each of [...inner.properties].reverse()) {
      if (each.type === "SpreadElement") {
        const found = look(each.argument, depth + 1);
        if (found.length > 0) return found;
      } else if (nameOf(each.key) === name) {
        const value = each.type === "ObjectProperty" ? each.value : each;
        const scope = { own, source, within };
        return [
          {
            at: { source, node: value, within },
            said: translate(value, scope),
            text: textOf(source, value),
          },
        ];
      }
    }
    return [];
  };
  /** Of arguments that are passed on: what those who call give. */
  const passed = (given: Node): Given[] => {
    const isArguments = given.type === "Identifier" && within?.kind === "internal";
    const names = isArguments ? argumentsOf(own.sources, within) : null;
    if (!names || !within) return untold;
    if (!names.has(name)) return [];
    const values = passedAs(own, within, name).map(({ node: value, caller }): Given => {
      const scope = { own, source: caller.source, within: caller };
      return {
        at: { source: caller.source, node: value ?? node, within: caller },
        said: value && translate(value, scope),
        text: value ? textOf(caller.source, value) : "…",
      };
    });
    return values.length > 0 ? values : untold;
  };
  return row ? look(row, 0) : untold;
}

/** What the app's own inserts give a column, as far as it can be said of Clerk's user. */
export function columnsNamed(name: string, own: OwnCode): (string | null)[] {
  const inserts = own.writes.filter(({ kind }) => kind === "insert");
  return inserts
    .flatMap((insert) => valueIn(insert, name, own))
    .map(({ said }) => said?.text ?? null);
}

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
    const { source, within, isPublic } = write;
    return (write.columns.get(name) ?? []).flatMap((value): Given[] => {
      if (!value) return [];
      const passed = passedThrough(value, write, own);
      if (passed.length > 0) return passed;
      const said = translate(value, { own, source, within, isPublic });
      return [{ at: { source, node: value, within }, said, text: textOf(source, value) }];
    });
  });
}

/** Of an argument of an internal function what those who call give. */
function passedThrough(value: Node, { source, within }: Spot, own: OwnCode): Given[] {
  const [, name] = /^(?:args\.)?(\w+)$/.exec(textOf(source, value)) ?? [];
  if (
    name === undefined ||
    within?.kind !== "internal" ||
    !argumentsOf(own.sources, within)?.has(name)
  )
    return [];
  return passedAs(own, within, name).flatMap(({ node, caller }): Given[] => {
    if (!node) return [];
    const scope = { own, source: caller.source, within: caller };
    return [
      { at: { ...scope, node }, said: translate(node, scope), text: textOf(caller.source, node) },
    ];
  });
}

/** What an insert gives a column: nothing where it does not name it. */
export function valueIn(write: Write, name: string, own: OwnCode): Given[] {
  const { row, source, within, node, isPublic } = write;
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
        const passed = passedThrough(value, write, own);
        if (passed.length > 0) return passed;
        const scope = { own, source, within, isPublic };
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

/** What the app's own inserts give a column: what is said of Clerk's user, and whether one makes it up by a call. */
export function columnsNamed(name: string, own: OwnCode): { said: string[]; isMade: boolean } {
  const inserts = own.writes.filter(({ kind }) => kind === "insert");
  const given = inserts.flatMap((insert) => valueIn(insert, name, own));
  return {
    said: given.flatMap(({ said }) => (said?.isOfUser ? said.text : [])),
    isMade: given.some(
      ({ said, at }) => said === null && at.node.type === "CallExpression" && isValue(at.node),
    ),
  };
}

/** Whether it is what is given, and not the insert itself. */
function isValue(node: Node): boolean {
  return node.type === "CallExpression" && node.callee.type === "Identifier";
}
